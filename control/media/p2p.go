package media

import (
	"context"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
)

// protocolP2P is no protocol of this package: the two devices exchange signals
// over the gateway, and media with each other.
const protocolP2P = "p2p"

// Participants are the two devices of a stream.
type Participants struct {
	CameraDeviceID    string `json:"cameraDeviceId"`
	RequesterDeviceID string `json:"requesterDeviceId"`
}

// peerCredentials returns what a device needs to reach the other one of a
// stream by itself. The camera waits for the viewer's offer. This server does
// not see the viewer watch: that it was let is what the audit log says.
func (s *Service) peerCredentials(
	ctx context.Context, st store.Stream, d direction, p auth.Principal, origin string,
) (Credentials, error) {
	if d == publish && p.Role != store.RoleCamera {
		return Credentials{}, auth.ErrForbidden
	}
	base, err := s.base(origin)
	if err != nil {
		return Credentials{}, err
	}
	if p.DeviceID == st.RequesterDeviceID {
		err := s.noteWatching(ctx, claims{
			UserID: p.UserID, DeviceID: p.DeviceID, MediaSessionID: st.MediaSessionID, StreamID: st.ID, CameraID: st.CameraDeviceID,
		})
		if err != nil {
			return Credentials{}, err
		}
	}
	return Credentials{
		Protocol:       protocolP2P,
		ExpiresAt:      s.now().Add(s.cfg.TokenTTL),
		MediaSessionID: st.MediaSessionID,
		ICEServers:     s.ice.ICEServers(base.Hostname(), Guest{UserID: p.UserID, DeviceID: p.DeviceID, CameraID: st.CameraDeviceID}),
		Participants:   &Participants{st.CameraDeviceID, st.RequesterDeviceID},
	}, nil
}
