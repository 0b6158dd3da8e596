package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/media"
	"github.com/securecam/securecam/control/recordings"
	"github.com/securecam/securecam/control/streams"
	"github.com/securecam/securecam/sfu"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/turn"
)

// What the SFU refuses, in the words of the API.
var (
	errInvalidOffer     = fault.New(fault.Invalid, "invalid_offer", "The offer or candidate cannot be understood.")
	errUnsupportedOffer = fault.New(fault.Unprocessable, "unsupported_offer", "The offer asks for media that cannot be served here.")
	errNoPublisher      = fault.New(fault.Conflict, "no_publisher", "The camera is not publishing yet.")
	errSessionNotFound  = fault.New(fault.NotFound, "not_found", "There is no such session.")
	errTooManyUpdates   = fault.New(fault.TooMany, "too_many", "The session is updated too often.")
	errBusy             = fault.New(fault.Unavailable, "busy", "The server cannot take more sessions now.")
)

// whipSFU is the SFU as WHIP and WHEP see it.
type whipSFU struct{ *sfu.SFU }

func (w whipSFU) Publish(ctx context.Context, mediaSession string, offer []byte) (media.Answer, error) {
	a, err := w.SFU.Publish(ctx, mediaSession, offer)
	return media.Answer(a), mediaFault(err)
}

func (w whipSFU) PublishTwoWay(ctx context.Context, mediaSession string, offer []byte) (media.Answer, error) {
	a, err := w.SFU.PublishTwoWay(ctx, mediaSession, offer)
	return media.Answer(a), mediaFault(err)
}

func (w whipSFU) Play(ctx context.Context, mediaSession, viewer string, wish media.Quality, offer []byte) (media.Answer, error) {
	a, err := w.SFU.Play(ctx, mediaSession, viewer, preference(wish), offer)
	return media.Answer(a), mediaFault(err)
}

func (w whipSFU) SetQuality(session string, q media.Quality) error {
	return mediaFault(w.SetPreference(session, preference(q)))
}

// readWish reads what a viewer writes on its data channel for that.
func readWish(raw []byte) (sfu.Preference, error) {
	q, err := media.ReadQuality(raw)
	return preference(q), err
}

// preference is a viewer's wish in the words of the SFU.
func preference(q media.Quality) sfu.Preference {
	p := sfu.NoPreference()
	p.MaxHeight, p.MaxBitrate, p.RID, p.Paused, p.Live = q.MaxHeight, q.MaxBitrate, q.RID, q.Paused, q.Live
	if q.SpatialID != nil {
		p.SpatialID = *q.SpatialID
	}
	if q.TemporalID != nil {
		p.TemporalID = *q.TemporalID
	}
	return p
}

func (w whipSFU) State(mediaSession string) media.Activity {
	st, _ := w.Status(mediaSession)
	state := media.Activity{Publishing: st.Publishing, Layers: w.Layers(mediaSession)}
	for _, n := range st.Viewers {
		state.Viewers += n
	}
	return state
}

func (w whipSFU) Layers(mediaSession string) []media.Layer {
	layers := []media.Layer{} // never null in JSON
	st, _ := w.Status(mediaSession)
	for _, l := range st.Layers {
		if l.Track == "video" {
			layers = append(layers, media.Layer{
				RID: l.RID, Active: l.Active, Width: l.Width, Height: l.Height, Bitrate: l.Bitrate, FramesPerSec: l.FPS,
				SpatialLayers: l.SpatialLayers, TemporalLayers: l.TemporalLayers,
			})
		}
	}
	return layers
}

func (w whipSFU) CounterOffer(
	ctx context.Context, mediaSession, viewer string, wish media.Quality,
) (media.Answer, time.Time, error) {
	a, until, err := w.SFU.CounterOffer(ctx, mediaSession, viewer, preference(wish))
	return media.Answer(a), until, mediaFault(err)
}

func (w whipSFU) Accept(ctx context.Context, session string, answer []byte) error {
	return mediaFault(w.SFU.Accept(ctx, session, answer))
}

func (w whipSFU) Update(ctx context.Context, session string, u media.Update) (media.Updated, error) {
	updated, err := w.SFU.Update(ctx, session, sfu.Update(u))
	return media.Updated(updated), mediaFault(err)
}

func (w whipSFU) Close(session, reason string) error {
	return mediaFault(w.SFU.Close(session, reason))
}

// mediaFault tells the API's fault for what the SFU reports, with what the SFU
// says of it: a publisher or player wants to know which of its wishes it was.
func mediaFault(err error) error {
	for _, m := range []struct {
		from error
		to   *fault.Error
	}{
		{sfu.ErrBadOffer, errInvalidOffer},
		{sfu.ErrUnsupported, errUnsupportedOffer},
		{sfu.ErrNoPublisher, errNoPublisher},
		{sfu.ErrNotFound, errSessionNotFound},
		{sfu.ErrStale, media.ErrStaleETag},
		{sfu.ErrTooMany, errTooManyUpdates},
		{sfu.ErrLimit, errBusy},
		{sfu.ErrClosed, errBusy},
	} {
		if !errors.Is(err, m.from) {
			continue
		}
		detail, found := strings.CutPrefix(err.Error(), m.from.Error()+": ")
		if !found || len(detail) > maxDetail {
			return m.to.With(err)
		}
		told := *m.to
		told.Message = strings.TrimSuffix(m.to.Message, ".") + ": " + detail + "."
		return told.With(err)
	}
	return err
}

// maxDetail bounds what of an error is told to a client.
const maxDetail = 200

// streamMedia is the SFU as the stream sessions see it.
type streamMedia struct{ *sfu.SFU }

func (streamMedia) Name() string { return streams.ProviderSFU }

func (m streamMedia) Held() map[string]streams.MediaStatus {
	held := map[string]streams.MediaStatus{}
	for _, id := range m.MediaSessions() {
		if s, ok := m.Status(id); ok {
			held[id] = streams.MediaStatus{Publishing: s.Publishing, Viewers: s.Viewers}
		}
	}
	return held
}

// Look adds nothing: the SFU knows all that goes on in it.
func (streamMedia) Look(
	_ context.Context, held map[string]streams.MediaStatus, _ []store.MediaSession, _ []store.Stream,
) (map[string]streams.MediaStatus, error) {
	return held, nil
}

// mediaEvents tells the features what begins and ends in the SFU. The features
// exist only after the SFU does, so they are set before it takes an offer.
type mediaEvents struct {
	streams    *streams.Service
	recordings *recordings.Service
}

func (e *mediaEvents) PublisherUp(mediaSession string) { e.recordings.PublisherUp(mediaSession) }

func (e *mediaEvents) PublisherDown(mediaSession, _ string) { e.streams.PublisherDown(mediaSession) }
func (e *mediaEvents) ViewerUp(string, string)              {}
func (e *mediaEvents) ViewerDown(_, viewer, _ string)       { e.streams.ViewerDown(viewer) }

func (e *mediaEvents) Ended(mediaSession, _ string) { e.recordings.Ended(mediaSession) }

// iceServers names our TURN server, by the host that the client itself used,
// and the operator's own ones.
type iceServers struct {
	secret   []byte
	port     int // 0 without an embedded TURN server
	external *media.ICEServer
	ttl      time.Duration
	now      func() time.Time // what revocations are dated by
}

func (i iceServers) ICEServers(host string, who media.Guest) []media.ICEServer {
	servers := []media.ICEServer{} // never null in JSON
	if i.port != 0 {
		address := net.JoinHostPort(host, strconv.Itoa(i.port))
		username, credential := turn.NewCredentials(i.secret, turn.Principal{
			User: who.UserID, Device: who.DeviceID, Camera: who.CameraID,
		}, i.ttl, i.now())
		servers = append(servers,
			media.ICEServer{URLs: []string{"stun:" + address}},
			media.ICEServer{
				URLs:       []string{"turn:" + address + "?transport=udp", "turn:" + address + "?transport=tcp"},
				Username:   username,
				Credential: credential,
			})
	}
	if i.external != nil {
		servers = append(servers, *i.external)
	}
	return servers
}

// relayRevoker ends relays whose right has ended.
type relayRevoker struct {
	turn *turn.Server
	ttl  time.Duration // of credentials
}

func (r relayRevoker) revoked(v store.Revocation) {
	switch v.Kind {
	case store.RevokedUser:
		r.turn.Revoke(turn.Principal{User: v.OwnerUserID}, v.CreatedAt, r.ttl)
	case store.RevokedDevice:
		r.turn.Revoke(turn.Principal{Device: v.TargetID}, v.CreatedAt, r.ttl)
	case store.RevokedLink:
		r.turn.Revoke(turn.Principal{Device: v.ClientDeviceID, Camera: v.CameraDeviceID}, v.CreatedAt, r.ttl)
	case store.RevokedSession: // sessions have no relays
	}
}
