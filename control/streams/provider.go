package streams

import (
	"context"

	"github.com/securecam/securecam/store"
)

// The media providers: who carries the media of streams.
const (
	ProviderSFU = "sfu" // this server forwards it
	ProviderP2P = "p2p" // the two devices send it to each other; this server relays their signals
)

// Provider is a media provider, as far as streams has to know it.
type Provider interface {
	// Name is ProviderSFU or ProviderP2P.
	Name() string
	// Held returns what the provider has in this process, by media session.
	Held() map[string]MediaStatus
	// Look returns what goes on in media sessions of this node, which are open
	// with these streams; held is what Held returned before they were read.
	Look(ctx context.Context, held map[string]MediaStatus, open []store.MediaSession, watched []store.Stream) (
		map[string]MediaStatus, error)
	// End closes the publisher, every viewer and every tap.
	End(mediaSessionID, reason string)
	// CloseViewer closes every viewer session of one stream session.
	CloseViewer(mediaSessionID, streamID, reason string)
}

// MediaStatus is what a provider knows of one media session.
type MediaStatus struct {
	Publishing bool
	Viewers    map[string]int // open viewer sessions by stream session
}

// Presence tells which devices are connected to the gateway, on any node.
type Presence interface {
	Connected(ctx context.Context, deviceID string) (bool, error)
}

// PeerToPeer is the provider without media: it takes a device for publishing or
// watching while the device is connected to the gateway, since signals need
// that. It is stateless.
type PeerToPeer struct{ Presence Presence }

// Name returns ProviderP2P.
func (PeerToPeer) Name() string { return ProviderP2P }

// Held returns nothing: no media is here.
func (PeerToPeer) Held() map[string]MediaStatus { return nil }

// Look asks the gateway for the cameras and viewers of the sessions.
func (p PeerToPeer) Look(ctx context.Context, _ map[string]MediaStatus, open []store.MediaSession, watched []store.Stream) (
	map[string]MediaStatus, error,
) {
	seen := make(map[string]MediaStatus, len(open))
	for _, m := range open {
		publishing, err := p.Presence.Connected(ctx, m.CameraDeviceID)
		if err != nil {
			return nil, err
		}
		seen[m.ID] = MediaStatus{Publishing: publishing, Viewers: map[string]int{}}
	}
	for _, st := range watched {
		status, ours := seen[st.MediaSessionID]
		if !ours {
			continue
		}
		watching, err := p.Presence.Connected(ctx, st.RequesterDeviceID)
		if err != nil {
			return nil, err
		}
		if watching {
			status.Viewers[st.ID] = 1
		}
	}
	return seen, nil
}

// End does nothing: the devices hear of the end by stream:ended.
func (PeerToPeer) End(string, string) {}

// CloseViewer does nothing, like End.
func (PeerToPeer) CloseViewer(string, string, string) {}
