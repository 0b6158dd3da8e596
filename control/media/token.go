package media

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/securecam/securecam/store"
)

// direction is which way the media of a token or a session flows.
type direction string

const (
	publish   direction = "publish"   // WHIP: a camera sends
	subscribe direction = "subscribe" // WHEP: a viewer receives
)

// claims is what a media token says. It is one device's right to publish into
// or to watch one media session; a subscriber's holds for one stream session.
type claims struct {
	Direction      direction `json:"dir"`
	MediaSessionID string    `json:"mediaSessionId"`
	StreamID       string    `json:"streamId,omitempty"`
	CameraID       string    `json:"cameraId"`
	DeviceID       string    `json:"deviceId"`
	UserID         string    `json:"userId"`
	KeyID          string    `json:"keyId"`
	Exp            int64     `json:"exp"` // unix seconds
}

func (c claims) guest() Guest {
	return Guest{UserID: c.UserID, DeviceID: c.DeviceID, CameraID: c.CameraID}
}

// handle is the last path segment of a WHIP or WHEP session URL: the SFU's
// session bound to those who may touch it. Being signed it needs no registry,
// which would have to hear of every session that dies.
type handle struct {
	Direction      direction `json:"d"`
	MediaSessionID string    `json:"m"`
	StreamID       string    `json:"v,omitempty"`
	SessionID      string    `json:"s"`
	Video          int       `json:"x,omitempty"` // index of the video section
}

func (s *Service) issue(c claims) (token string, expires time.Time, err error) {
	expires = s.now().Add(s.cfg.TokenTTL).Truncate(time.Second)
	c.Exp = expires.Unix()
	token, err = s.signer.Sign(c)
	return token, expires, err
}

// authorize returns the claims of a token that may act on a media session in
// a direction now. The signature says who asks; the store says whether the
// right still stands: rotated keys, ended streams and revoked links end it at
// once.
func (s *Service) authorize(ctx context.Context, token string, d direction, mediaSessionID string) (claims, error) {
	var c claims
	if token == "" {
		return claims{}, errNoToken
	}
	if err := s.signer.Verify(token, &c); err != nil {
		return claims{}, errInvalidToken.With(err)
	}
	if c.Exp <= s.now().Unix() || c.MediaSessionID != mediaSessionID {
		return claims{}, errInvalidToken
	}
	if c.Direction != d {
		return claims{}, errWrongDirection
	}
	grant, err := s.grant(ctx, c)
	if err != nil {
		return claims{}, gone(err)
	}
	if grant.TokenKeyID != c.KeyID || !grant.Open {
		return claims{}, errInvalidToken
	}
	return c, nil
}

// grant returns what the token stands on: the media session for a publisher,
// the stream for a subscriber. Links need no look of their own, because the
// store ends a link's streams with it.
func (s *Service) grant(ctx context.Context, c claims) (store.Grant, error) {
	if c.Direction == publish {
		return s.store.PublishGrant(ctx, c.DeviceID, c.MediaSessionID)
	}
	return s.store.WatchGrant(ctx, c.DeviceID, c.UserID, c.StreamID)
}

// gone makes a token worthless whose device, stream or media session does not
// exist any more.
func gone(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errInvalidToken.With(err)
	}
	return err
}

func participant(st store.Stream, deviceID string) bool {
	return deviceID == st.CameraDeviceID || deviceID == st.RequesterDeviceID
}

// seal makes the session's path segment.
func (s *Service) seal(c claims, a Answer) (string, error) {
	return s.signer.Sign(handle{
		Direction: c.Direction, MediaSessionID: c.MediaSessionID, StreamID: c.StreamID,
		SessionID: a.SessionID, Video: videoSection(a.SDP),
	})
}

// videoSection is the index of the first video section of an SDP, 0 if it has
// none.
func videoSection(sdp []byte) int {
	i := 0
	for line := range bytes.Lines(sdp) {
		switch {
		case bytes.HasPrefix(line, []byte("m=video")):
			return i
		case bytes.HasPrefix(line, []byte("m=")):
			i++
		}
	}
	return 0
}

// open returns the session that a path segment names, or errNoSession if it
// is not the token's.
func (s *Service) open(c claims, segment string) (handle, error) {
	var h handle
	if err := s.signer.Verify(segment, &h); err != nil {
		return handle{}, errNoSession.With(err)
	}
	if h.Direction != c.Direction || h.MediaSessionID != c.MediaSessionID || h.StreamID != c.StreamID {
		return handle{}, errNoSession
	}
	return h, nil
}
