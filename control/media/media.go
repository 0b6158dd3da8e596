// Package media lets cameras publish by WHIP (RFC 9725) and viewers watch by
// WHEP (draft-ietf-wish-whep), and issues the tokens that they do it with.
package media

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// Kinds that only WHIP and WHEP answer.
const (
	methodNotAllowed     = fault.Kind(http.StatusMethodNotAllowed)
	preconditionFailed   = fault.Kind(http.StatusPreconditionFailed)
	preconditionRequired = fault.Kind(http.StatusPreconditionRequired)
)

// ErrNotStreaming refuses credentials for a stream that is not streaming.
var ErrNotStreaming = fault.New(fault.Conflict, "stream_not_streaming", "The stream is not streaming.")

// The other faults of this package.
var (
	errNoToken        = fault.New(fault.Unauthenticated, "unauthenticated", "A media token is required.")
	errInvalidToken   = fault.New(fault.Unauthenticated, "unauthenticated", "The media token is invalid, expired or revoked.")
	errWrongDirection = fault.New(fault.Forbidden, "forbidden", "The media token is for the other direction.")
	errNoSession      = fault.New(fault.NotFound, "not_found", "There is no such session.")
	errNotJSON        = fault.New(fault.UnsupportedMedia, "unsupported_media_type", "The body must be application/json.")
	errLayer          = fault.New(fault.Invalid, "invalid_layer", "A layer choice is an object of mediaId, rid, spatialLayerId, "+
		"temporalLayerId, maxSpatialLayerId, maxTemporalLayerId, maxWidth and maxHeight.")
	errEmptyBody   = fault.New(fault.Invalid, "empty_body", "The request has no body.")
	errNotAccepted = fault.New(fault.NotAcceptable, "not_acceptable", "The answer is application/sdp, which the request does not accept.")
	errNotSDP      = fault.New(fault.UnsupportedMedia, "unsupported_media_type", "The body must be application/sdp.")
	errNotSDPFrag  = fault.New(fault.UnsupportedMedia, "unsupported_media_type", "The body must be application/trickle-ice-sdpfrag.")
	errNoIfMatch   = fault.New(preconditionRequired, "precondition_required", "If-Match with the session's entity-tag is required.")
	errTooMany     = fault.New(fault.TooMany, "too_many_requests", "That was too many requests of one device. Wait a second.")
	errMethod      = fault.New(methodNotAllowed, "method_not_allowed", "The method is not allowed here.")
)

// ErrStaleETag refuses an update of an ICE session that is not the current one.
var ErrStaleETag = fault.New(preconditionFailed, "precondition_failed", "The entity-tag is not the session's current one.")

// codeNoPublisher is the code of the SFU's fault for a media session that
// nobody publishes yet: worth another try soon.
const codeNoPublisher = "no_publisher"

// Store is what media needs from the database.
type Store interface {
	Stream(ctx context.Context, userID, id string) (store.Stream, error)
	MediaSession(ctx context.Context, id string) (store.MediaSession, error)
	UserMediaSession(ctx context.Context, userID, id string) (store.MediaSession, error)
	MediaSessions(ctx context.Context, userID string, by store.MediaSessionFilter, p store.Page) ([]store.MediaSession, error)
	ActiveLink(ctx context.Context, cameraID, clientID string) (store.Link, error)
	DeviceByID(ctx context.Context, id string) (store.Device, error)
	PublishGrant(ctx context.Context, deviceID, mediaSessionID string) (store.Grant, error)
	WatchGrant(ctx context.Context, deviceID, userID, streamID string) (store.Grant, error)
	NoteAccess(ctx context.Context, by store.Actor, ownerUserID, target, verb, id string, details map[string]any) error
}

// SFU answers offers. Its errors are faults: invalid_offer 400,
// unsupported_offer 422, no_publisher 409, not_found 404, too_many 429,
// busy 503, and ErrStaleETag.
type SFU interface {
	Publish(ctx context.Context, mediaSessionID string, offer []byte) (Answer, error)
	// PublishTwoWay lets viewers talk to the camera, too, if its offer can hear.
	PublishTwoWay(ctx context.Context, mediaSessionID string, offer []byte) (Answer, error)
	// Play has a viewer begin with what it wishes.
	Play(ctx context.Context, mediaSessionID, viewer string, wish Quality, offer []byte) (Answer, error)
	// CounterOffer offers what the media session has, until a time; Accept
	// takes the answer.
	CounterOffer(ctx context.Context, mediaSessionID, viewer string, wish Quality) (Answer, time.Time, error)
	Accept(ctx context.Context, sessionID string, answer []byte) error
	Update(ctx context.Context, sessionID string, u Update) (Updated, error)
	// Has reports whether a session goes on; State is what a media session
	// does, the zero Activity for one that does not exist.
	Has(sessionID string) bool
	State(mediaSessionID string) Activity
	Close(sessionID, reason string) error
	// SetQuality says what a viewer's session wants from now on.
	SetQuality(sessionID string, q Quality) error
	// Layers lists what a media session's camera sends as video, the least first.
	Layers(mediaSessionID string) []Layer
}

// Answer is the SFU's side of a new session. ETag is strong and quoted.
type Answer struct {
	SessionID string
	SDP       []byte
	ETag      string
}

// Update changes what is known of a session's ICE (RFC 9725, section 4.3): of
// any ICE session, or only of one with these entity-tags.
type Update struct {
	Any      bool
	ETags    []string
	Fragment []byte // application/trickle-ice-sdpfrag
}

// Updated is empty when candidates were added. After an ICE restart it is the
// entity-tag of the new ICE session and the SFU's side of it.
type Updated struct {
	ETag     string
	Fragment []byte
}

// Signer signs and verifies tokens of one purpose.
type Signer interface {
	Sign(payload any) (string, error)
	Verify(token string, payload any) error
}

// Sessions opens and ends media sessions that a camera starts by itself.
type Sessions interface {
	OpenMedia(ctx context.Context, p auth.Principal) (store.MediaSession, error)
	EndMedia(ctx context.Context, p auth.Principal, id string) error
}

// ICE names the STUN and TURN servers for whoever reached us under host.
type ICE interface {
	ICEServers(host string, who Guest) []ICEServer
}

// Guest is for whom TURN credentials are, so that they can be revoked: a device
// of a user, that watches a camera or is it.
type Guest struct {
	UserID, DeviceID, CameraID string
}

// ICEServer is one entry of a browser's RTCConfiguration.iceServers.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// Config is what a Service is made of.
type Config struct {
	Store    Store
	SFU      SFU
	Signer   Signer // for this package's purpose alone
	Sessions Sessions
	ICE      ICE
	Logger   *slog.Logger

	// BaseURL is where the outside reaches us, such as
	// "https://cam.example.org/securecam". Empty: what each request came under.
	BaseURL *url.URL
	// NodeID names this process among several on one database, NodeURL reaches
	// this very one when BaseURL may reach any (nil without), and Nodes finds the
	// others; nil when there are none. Media is where its session was opened.
	NodeID  string
	NodeURL *url.URL
	Nodes   Nodes
	// TokenTTL is how long a media token opens sessions. Default 1 h.
	TokenTTL time.Duration
	// Now is the clock of tokens; nil is time.Now.
	Now func() time.Time
}

// Service issues media tokens and serves WHIP and WHEP. It is safe for
// concurrent use.
type Service struct {
	store    Store
	sfu      SFU
	signer   Signer
	sessions Sessions
	ice      ICE
	log      *slog.Logger
	cfg      Config
	events   *eventHub
	offers   *limiter // of POST, by device and stream
	changes  *limiter // of what is asked of sessions
}

// Stats counts what was refused with 429, since the start: the one who asked did so too often, or has too much already.
type Stats struct {
	RefusedOffers       uint64 `help:"WHIP and WHEP offers of one device that came too fast."`
	RefusedChanges      uint64 `help:"Requests about sessions of one device that came too fast."`
	RefusedEventStreams uint64 `help:"Event streams of a session that were too many."`
}

// Stats returns the counters.
func (s *Service) Stats() Stats {
	return Stats{
		RefusedOffers: s.offers.refused.Load(), RefusedChanges: s.changes.refused.Load(), RefusedEventStreams: s.events.refused.Load(),
	}
}

// New returns a Service.
func New(c Config) *Service {
	if c.TokenTTL <= 0 {
		c.TokenTTL = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Service{
		store: c.Store, sfu: c.SFU, signer: c.Signer, sessions: c.Sessions, ice: c.ICE, log: c.Logger, cfg: c,
		events: newEventHub(c.SFU),
		offers: newLimiter(offersPerSecond, offersAtOnce), changes: newLimiter(changesPerSecond, changesAtOnce),
	}
}

// Run tells viewers what goes on with what they watch, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	s.events.run(ctx)
	return nil
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC() }

// base is the URL that the outside reaches us under, without final slash.
// origin is what the request came under, with what a proxy cut off its path.
func (s *Service) base(origin string) (url.URL, error) {
	base := s.cfg.BaseURL
	if base == nil {
		var err error
		if base, err = url.Parse(origin); err != nil {
			return url.URL{}, fmt.Errorf("media: base url: %w", err)
		}
	}
	return url.URL{Scheme: base.Scheme, Host: base.Host, Path: strings.TrimRight(base.Path, "/")}, nil
}

// Credentials let a device open one direction of a media session.
type Credentials struct {
	Protocol       string      `json:"protocol" enum:"whip,whep,p2p" doc:"p2p: by webrtc:signal on the gateway, with the other participant"`
	URL            string      `json:"url,omitempty" format:"uri" doc:"Of WHIP or WHEP"`
	Token          string      `json:"token,omitempty" doc:"For the URL"`
	ExpiresAt      time.Time   `json:"expiresAt"`
	MediaSessionID string      `json:"mediaSessionId"`
	ICEServers     []ICEServer `json:"iceServers"`

	Participants *Participants `json:"participants,omitempty" doc:"With p2p"`
}

// PublishCredentials returns what the camera p needs to publish for a stream.
func (s *Service) PublishCredentials(
	ctx context.Context, p auth.Principal, streamID, origin string,
) (Credentials, error) {
	st, err := s.streaming(ctx, p, streamID)
	if err != nil {
		return Credentials{}, err
	}
	if st.MediaProvider == protocolP2P {
		return s.peerCredentials(ctx, st, publish, p, origin)
	}
	return s.credentials(ctx, claims{
		Direction: publish, MediaSessionID: st.MediaSessionID, CameraID: st.CameraDeviceID,
	}, p, origin)
}

// SubscribeCredentials returns what a participant p needs to watch a stream.
func (s *Service) SubscribeCredentials(
	ctx context.Context, p auth.Principal, streamID, origin string,
) (Credentials, error) {
	st, err := s.streaming(ctx, p, streamID)
	if err != nil {
		return Credentials{}, err
	}
	if st.MediaProvider == protocolP2P {
		return s.peerCredentials(ctx, st, subscribe, p, origin)
	}
	c := claims{Direction: subscribe, MediaSessionID: st.MediaSessionID, StreamID: st.ID, CameraID: st.CameraDeviceID}
	return s.credentials(ctx, c, p, origin)
}

// streaming returns the stream if p takes part in it and it streams.
func (s *Service) streaming(ctx context.Context, p auth.Principal, id string) (store.Stream, error) {
	st, err := s.store.Stream(ctx, p.UserID, id)
	if err != nil {
		return store.Stream{}, err
	}
	if !participant(st, p.DeviceID) {
		return store.Stream{}, store.ErrNotFound
	}
	if st.Status != store.StreamStreaming {
		return store.Stream{}, ErrNotStreaming
	}
	return st, nil
}

// GoLive opens a media session for the camera p, which nobody asked for, and
// returns what it needs to publish into it.
func (s *Service) GoLive(ctx context.Context, p auth.Principal, origin string) (store.MediaSession, Credentials, error) {
	m, err := s.sessions.OpenMedia(ctx, p)
	if err != nil {
		return store.MediaSession{}, Credentials{}, err
	}
	c, err := s.credentials(ctx, claims{Direction: publish, MediaSessionID: m.ID, CameraID: m.CameraDeviceID}, p, origin)
	return m, c, err
}

// credentials issues a token for the caller's device and says where to use it.
func (s *Service) credentials(ctx context.Context, c claims, p auth.Principal, origin string) (Credentials, error) {
	if c.Direction == publish && p.Role != store.RoleCamera {
		return Credentials{}, auth.ErrForbidden
	}
	base, _, err := s.nodeBase(ctx, c.MediaSessionID, origin)
	if err != nil {
		return Credentials{}, err
	}
	device, err := s.store.DeviceByID(ctx, p.DeviceID)
	if err != nil {
		return Credentials{}, err
	}
	c.DeviceID, c.UserID, c.KeyID = device.ID, device.UserID, device.TokenKeyID
	token, expires, err := s.issue(c)
	if err != nil {
		return Credentials{}, err
	}
	protocol := protocolOf(c.Direction)
	return Credentials{
		Protocol:       protocol,
		URL:            base.JoinPath(protocol, c.MediaSessionID).String(),
		Token:          token,
		ExpiresAt:      expires,
		MediaSessionID: c.MediaSessionID,
		ICEServers:     s.ice.ICEServers(base.Hostname(), c.guest()),
	}, nil
}

func protocolOf(d direction) string {
	if d == publish {
		return "whip"
	}
	return "whep"
}
