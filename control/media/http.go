package media

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

const (
	// requestTimeout bounds the store and the SFU together.
	requestTimeout = 10 * time.Second

	// What a client waits before it tries again, in seconds.
	retryNoPublisher = "2"
	retryBusy        = "5"
)

// Mount adds the routes of this package. WHIP and WHEP are plain handlers,
// because their bodies, statuses and headers are not JSON's. How large a body
// may be, and the CORS headers, are the server's (package control).
func (s *Service) Mount(app fiber.Router, api huma.API) {
	for _, d := range []direction{publish, subscribe} {
		app.All("/"+protocolOf(d)+"/:mediaSession", s.endpoint(d))
		app.All("/"+protocolOf(d)+"/:mediaSession/:session", s.session(d))
	}
	s.mountExtensions(app)
	s.operations(api)
	document(api)
}

// endpoint serves the WHIP or WHEP endpoint URL (RFC 9725, section 4.2).
func (s *Service) endpoint(d direction) fiber.Handler {
	return func(c *fiber.Ctx) error {
		var err error
		switch c.Method() {
		case fiber.MethodPost:
			err = s.create(c, d)
		case fiber.MethodOptions:
			err = s.describe(c, d)
		case fiber.MethodGet, fiber.MethodHead:
			discover(c, d)
		default:
			c.Set(fiber.HeaderAllow, allowEndpoint)
			err = errMethod
		}
		return problem(c, err)
	}
}

// session serves a WHIP or WHEP session URL (RFC 9725, sections 4.2 and 4.3).
func (s *Service) session(d direction) fiber.Handler {
	return func(c *fiber.Ctx) error {
		var err error
		switch c.Method() {
		case fiber.MethodPatch:
			err = s.patch(c, d)
		case fiber.MethodDelete:
			err = s.remove(c, d)
		case fiber.MethodGet, fiber.MethodHead:
			var h handle
			if h, err = s.find(c, d); err == nil {
				err = s.tellQuality(c, h, d)
			}
		case fiber.MethodOptions:
			c.Set(fiber.HeaderAllow, allowSession)
			c.Set("Accept-Patch", acceptPatch(d))
		default:
			c.Set(fiber.HeaderAllow, allowSession)
			err = errMethod
		}
		return problem(c, err)
	}
}

// create answers an offer with a new session.
func (s *Service) create(c *fiber.Ctx, d direction) error {
	ctx, cancel := context.WithTimeout(c.UserContext(), requestTimeout)
	defer cancel()
	cl, err := s.authorize(ctx, token(c), d, c.Params("mediaSession"))
	if err != nil {
		return err
	}
	if !s.offers.allow(cl.DeviceID+"/"+cl.StreamID, s.now()) {
		return errTooMany
	}
	if err := s.stay(ctx, cl.MediaSessionID); err != nil {
		return err
	}
	if d == publish && c.Accepts(typeSDP) == "" { // to a player, 406 is a counter-offer
		return errNotAccepted
	}
	offer, err := body(c, typeSDP, errNotSDP)
	if err != nil {
		c.Set("Accept-Post", typeSDP)
		return err
	}
	base, err := s.base(origin(c.UserContext()))
	if err != nil {
		return err
	}
	answer, err := s.connect(ctx, cl, c, offer)
	if err != nil && d == subscribe && unsupported(err) {
		return s.counter(ctx, c, cl, base, err)
	}
	if err != nil {
		return err
	}
	segment, err := s.admit(ctx, c, cl, answer)
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "media connected", slog.String("media_session", cl.MediaSessionID),
		slog.String("stream", cl.StreamID), slog.String("device", cl.DeviceID))

	// An absolute path without the origin survives reverse proxies.
	c.Set(fiber.HeaderLocation, location(base, cl, segment))
	c.Set(fiber.HeaderETag, answer.ETag)
	c.Set("Accept-Patch", acceptPatch(d))
	addLinks(c, s.ice.ICEServers(base.Hostname(), cl.guest()))
	if d == subscribe {
		addExtensions(c, location(base, cl, segment))
	}
	c.Set(fiber.HeaderContentType, typeSDP)
	return c.Status(fiber.StatusCreated).Send(answer.SDP)
}

// location is the path of a session.
func location(base url.URL, cl claims, segment string) string {
	return base.Path + "/" + protocolOf(cl.Direction) + "/" + cl.MediaSessionID + "/" + segment
}

// admit returns the path segment of a session that the SFU has made, if it may
// be there still.
func (s *Service) admit(ctx context.Context, c *fiber.Ctx, cl claims, answer Answer) (string, error) {
	// Whoever ended the stream after the first look may have told the SFU
	// before the session was there: the second look finds that.
	segment, err := s.seal(cl, answer)
	if err == nil {
		_, err = s.authorize(ctx, token(c), cl.Direction, cl.MediaSessionID)
	}
	if err == nil && cl.Direction == subscribe {
		err = s.noteWatching(ctx, cl)
	}
	if err != nil {
		if closeErr := s.sfu.Close(answer.SessionID, "not_answered"); closeErr != nil {
			s.log.WarnContext(ctx, "media session not closed", slog.Any("err", closeErr))
		}
		return "", err
	}
	return segment, nil
}

// noteWatching writes who watches into the audit log. Nobody watches unseen:
// without the entry there is no answer.
func (s *Service) noteWatching(ctx context.Context, cl claims) error {
	by := store.Actor{UserID: cl.UserID, DeviceID: cl.DeviceID, IP: rest.RequestOf(ctx).IP}
	return s.store.NoteAccess(ctx, by, cl.UserID, "media_session", store.AuditWatch, cl.MediaSessionID, map[string]any{
		"streamId": cl.StreamID, "cameraDeviceId": cl.CameraID,
	})
}

// connect opens the SFU's side. A second publisher of a media session takes
// over from the first, a viewer may have several sessions.
func (s *Service) connect(ctx context.Context, cl claims, c *fiber.Ctx, offer []byte) (Answer, error) {
	if cl.Direction == publish {
		switch c.Query("talkback") {
		case "", "false":
			return s.sfu.Publish(ctx, cl.MediaSessionID, offer)
		case "true":
			return s.sfu.PublishTwoWay(ctx, cl.MediaSessionID, offer)
		default:
			return Answer{}, errTalkback
		}
	}
	wish, err := qualityOf(c)
	if err != nil {
		return Answer{}, err
	}
	return s.sfu.Play(ctx, cl.MediaSessionID, cl.StreamID, wish, offer)
}

// describe answers OPTIONS. It is public, as a CORS preflight carries no
// credentials; whoever shows a token also gets the ICE servers.
func (s *Service) describe(c *fiber.Ctx, d direction) error {
	c.Set(fiber.HeaderAllow, allowEndpoint)
	c.Set("Accept-Post", typeSDP)
	if c.Get(fiber.HeaderAuthorization) == "" || c.Get(fiber.HeaderAccessControlRequestMethod) != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), requestTimeout)
	defer cancel()
	cl, err := s.authorize(ctx, token(c), d, c.Params("mediaSession"))
	if err != nil {
		return err
	}
	base, err := s.base(origin(c.UserContext()))
	if err != nil {
		return err
	}
	addLinks(c, s.ice.ICEServers(base.Hostname(), cl.guest()))
	return nil
}

// discover answers GET and HEAD with success and no content, whatever the
// path (RFC 9725, section 4.2). A WHEP endpoint shows by HEAD what it is.
func discover(c *fiber.Ctx, d direction) {
	if d == subscribe && c.Method() == fiber.MethodHead {
		c.Set(fiber.HeaderContentType, typeSDP)
		return
	}
	c.Status(fiber.StatusNoContent)
}

// patch adds a client's ICE candidates (RFC 9725, section 4.3.2) or restarts
// ICE (section 4.3.3).
func (s *Service) patch(c *fiber.Ctx, d direction) error {
	h, err := s.find(c, d)
	if err != nil {
		return err
	}
	switch contentType := c.Get(fiber.HeaderContentType); {
	case d == publish:
	case hasMediaType(contentType, typeJSON):
		return s.setQuality(c, h)
	case hasMediaType(contentType, typeSDP):
		return s.accept(c, h)
	}
	fragment, err := body(c, typeSDPFrag, errNotSDPFrag)
	if err != nil {
		c.Set("Accept-Patch", acceptPatch(d))
		return err
	}
	wanted, given := parseIfMatch(string(bytes.Join(c.Request().Header.PeekAll(fiber.HeaderIfMatch), []byte(","))))
	if !given {
		return errNoIfMatch
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), requestTimeout)
	defer cancel()
	updated, err := s.sfu.Update(ctx, h.SessionID, Update{Any: wanted.anyone, ETags: wanted.etags, Fragment: fragment})
	if err != nil {
		return err
	}
	if updated.ETag == "" {
		c.Status(fiber.StatusNoContent)
		return nil
	}
	s.log.InfoContext(ctx, "ice restarted", slog.String("media_session", h.MediaSessionID), slog.String("stream", h.StreamID))
	c.Set(fiber.HeaderETag, updated.ETag)
	c.Set(fiber.HeaderContentType, typeSDPFrag)
	return c.Send(updated.Fragment)
}

// remove ends a session. Entity-tags are ignored (RFC 9725, section 4.3.1).
func (s *Service) remove(c *fiber.Ctx, d direction) error {
	h, err := s.find(c, d)
	if err != nil {
		return err
	}
	return s.sfu.Close(h.SessionID, "closed_by_client")
}

// find returns the session of the URL, if the token may touch it.
func (s *Service) find(c *fiber.Ctx, d direction) (handle, error) {
	ctx, cancel := context.WithTimeout(c.UserContext(), requestTimeout)
	defer cancel()
	cl, err := s.authorize(ctx, token(c), d, c.Params("mediaSession"))
	if err != nil {
		return handle{}, err
	}
	if !s.changes.allow(cl.DeviceID+"/"+cl.StreamID, s.now()) {
		return handle{}, errTooMany
	}
	if err := s.stay(ctx, cl.MediaSessionID); err != nil {
		return handle{}, err
	}
	return s.open(cl, c.Params("session"))
}

// origin is what the client put before our paths.
func origin(ctx context.Context) string { return rest.Public{}.Base(ctx) }

func token(c *fiber.Ctx) string {
	token, _ := auth.BearerToken(c.Get(fiber.HeaderAuthorization))
	return token
}

// body returns a copy of the request's body if it has the media type.
func body(c *fiber.Ctx, mediaType string, wrongType error) ([]byte, error) {
	if !hasMediaType(c.Get(fiber.HeaderContentType), mediaType) {
		return nil, wrongType
	}
	b := c.Request().Body() // not c.Body, which inflates without a limit
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, errEmptyBody
	}
	return bytes.Clone(b), nil
}

// addLinks adds one header line a URL: not every client splits a list.
func addLinks(c *fiber.Ctx, servers []ICEServer) {
	for _, link := range links(servers) {
		c.Response().Header.Add(fiber.HeaderLink, link)
	}
}

// problem answers an error with its document and the headers that belong to
// its status; nil stays what the handler made.
func problem(c *fiber.Ctx, err error) error {
	if err == nil {
		return nil
	}
	var other *elsewhere
	if errors.As(err, &other) { // RFC 9725, section 4.5
		return c.Redirect(other.base.String()+c.OriginalURL(), fiber.StatusTemporaryRedirect)
	}
	if problemErr := rest.Problem(c, err); problemErr != nil {
		return problemErr
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return nil
	}
	switch {
	case errors.Is(err, errNoToken):
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	case f.Kind == fault.Unauthenticated: // RFC 6750, section 3.1
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer error="invalid_token"`)
	case errors.Is(err, errWrongDirection):
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer error="insufficient_scope"`)
	case f.Code == codeNoPublisher:
		c.Set(fiber.HeaderRetryAfter, retryNoPublisher)
	case f.Kind == fault.Unavailable:
		c.Set(fiber.HeaderRetryAfter, retryBusy)
	}
	return nil
}
