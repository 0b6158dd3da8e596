package media

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
)

// The WHEP core extensions that are offered, by the names that Link gives them.
const (
	relEvents = "urn:ietf:params:whep:ext:core:server-sent-events"
	relLayer  = "urn:ietf:params:whep:ext:core:layer"

	// heartbeat finds a client out that is gone.
	heartbeat = 15 * time.Second
)

// mountExtensions adds the routes of the extensions of a WHEP session.
func (s *Service) mountExtensions(app fiber.Router) {
	const session = "/whep/:mediaSession/:session"
	app.All(session+"/events", s.only(fiber.MethodPost, s.openEvents))
	app.All(session+"/events/:stream", s.eventStream)
	app.All(session+"/layer", s.only(fiber.MethodPost, s.selectLayer))
}

// only answers one method, and OPTIONS.
func (s *Service) only(method string, do func(*fiber.Ctx) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		allow := fiber.MethodOptions + ", " + method
		switch c.Method() {
		case method:
			return problem(c, do(c))
		case fiber.MethodOptions:
			c.Set(fiber.HeaderAllow, allow)
			return nil
		}
		c.Set(fiber.HeaderAllow, allow)
		return problem(c, errMethod)
	}
}

// addExtensions names the extensions of a session that was just opened.
func addExtensions(c *fiber.Ctx, location string) {
	c.Response().Header.Add(fiber.HeaderLink,
		"<"+location+`/events>; rel="`+relEvents+`"; events="`+strings.Join(eventNames(), ",")+`"`)
	c.Response().Header.Add(fiber.HeaderLink, "<"+location+`/layer>; rel="`+relLayer+`"`)
}

// openEvents makes an event stream of a session.
func (s *Service) openEvents(c *fiber.Ctx) error {
	h, err := s.find(c, subscribe)
	if err != nil {
		return err
	}
	var names []string
	if raw := c.Request().Body(); len(bytes.TrimSpace(raw)) > 0 {
		if !hasMediaType(c.Get(fiber.HeaderContentType), typeJSON) {
			return errNotJSON
		}
		if len(raw) > maxQualityBody || json.Unmarshal(raw, &names) != nil {
			return errEventName
		}
	}
	id := uuid.NewString()
	if err := s.events.open(h, id, names); err != nil {
		return err
	}
	base, err := s.base(origin(c.UserContext()))
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderLocation, sessionPath(base, h, c.Params("session"))+"/events/"+id)
	c.Status(fiber.StatusCreated)
	return nil
}

func sessionPath(base url.URL, h handle, segment string) string {
	return location(base, claims{Direction: h.Direction, MediaSessionID: h.MediaSessionID}, segment)
}

// eventStream reads or deletes an event stream. A browser's EventSource sends
// no token: whoever has the URL of a stream, which is signed and random, may
// read it, as long as the session lives.
func (s *Service) eventStream(c *fiber.Ctx) error {
	switch c.Method() {
	case fiber.MethodGet:
		return problem(c, s.readEvents(c))
	case fiber.MethodDelete:
		return problem(c, s.deleteEvents(c))
	case fiber.MethodOptions:
		c.Set(fiber.HeaderAllow, allowEvents)
		return nil
	}
	c.Set(fiber.HeaderAllow, allowEvents)
	return problem(c, errMethod)
}

func (s *Service) readEvents(c *fiber.Ctx) error {
	var h handle
	if err := s.signer.Verify(c.Params("session"), &h); err != nil || h.MediaSessionID != c.Params("mediaSession") {
		return errNoEvents
	}
	e, err := s.events.find(h.SessionID, c.Params("stream"))
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, noStore)
	c.Set("X-Accel-Buffering", "no") // nginx would hold events back
	ctx, stopping, replaced := c.UserContext(), c.Context().Done(), e.read()
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { e.write(ctx, stopping, replaced, w) })
	return nil
}

// write sends what waits and what comes, until the stream, the client or the
// server ends, or another client reads.
func (e *eventStream) write(ctx context.Context, stopping, replaced <-chan struct{}, w *bufio.Writer) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	next := append([]byte(":\n\n"), e.take()...) // so that the client hears of the stream at once
	for {
		if _, err := w.Write(next); err != nil || w.Flush() != nil {
			return
		}
		select {
		case <-e.wake:
			next = e.take()
		case <-beat.C:
			next = []byte(":\n\n")
		case <-e.done:
			return
		case <-replaced:
			return
		case <-ctx.Done():
			return
		case <-stopping:
			return
		}
	}
}

func (s *Service) deleteEvents(c *fiber.Ctx) error {
	h, err := s.find(c, subscribe)
	if err != nil {
		return err
	}
	e, err := s.events.find(h.SessionID, c.Params("stream"))
	if err == nil {
		s.events.close(e)
	}
	return err
}

// layerChoice is the body of a layer selection. Unknown members are of later
// versions.
type layerChoice struct {
	MediaID    *string `json:"mediaId"`
	RID        string  `json:"rid"`
	SpatialID  *int    `json:"spatialLayerId"`
	TemporalID *int    `json:"temporalLayerId"`
	MaxSpatial *int    `json:"maxSpatialLayerId"`
	MaxTempor  *int    `json:"maxTemporalLayerId"`
	MaxWidth   int     `json:"maxWidth"`
	MaxHeight  int     `json:"maxHeight"`
}

// selectLayer takes a viewer's choice of a layer; an empty one leaves it to us.
func (s *Service) selectLayer(c *fiber.Ctx) error {
	h, err := s.find(c, subscribe)
	if err != nil {
		return err
	}
	if !hasMediaType(c.Get(fiber.HeaderContentType), typeJSON) {
		return errNotJSON
	}
	var choice layerChoice
	raw := c.Request().Body()
	if len(raw) > maxQualityBody || json.Unmarshal(raw, &choice) != nil || choice.MaxWidth < 0 ||
		choice.MediaID != nil && *choice.MediaID != strconv.Itoa(h.Video) {
		return errLayer
	}
	q := choice.quality(s.sfu.State(h.MediaSessionID).Layers)
	if !q.valid() {
		return errLayer
	}
	return s.sfu.SetQuality(h.SessionID, q)
}

// quality is the choice in our words. A width is the height of the largest
// picture that is not wider.
func (l layerChoice) quality(layers []Layer) Quality {
	q := Quality{RID: l.RID, SpatialID: lower(l.SpatialID, l.MaxSpatial), TemporalID: lower(l.TemporalID, l.MaxTempor), MaxHeight: l.MaxHeight}
	if l.MaxWidth == 0 {
		return q
	}
	tallest, lowest := 0, 0
	for _, o := range layers {
		side := min(o.Width, o.Height)
		if side == 0 {
			continue
		}
		if lowest == 0 || side < lowest {
			lowest = side
		}
		if o.Width <= l.MaxWidth {
			tallest = max(tallest, side)
		}
	}
	if tallest == 0 {
		tallest = lowest // nothing is narrow enough: what comes nearest
	}
	if tallest > 0 && (q.MaxHeight == 0 || tallest < q.MaxHeight) {
		q.MaxHeight = tallest
	}
	return q
}

// lower is the smaller one of two limits that may be absent.
func lower(a, b *int) *int {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}
