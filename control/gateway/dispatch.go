package gateway

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

var (
	errNoToken = fault.New(fault.Unauthenticated, "unauthenticated",
		`The first message must be "authenticate" with a device token.`)
	errTooLate = fault.New(fault.Unauthenticated, "unauthenticated", "No authentication within the time allowed.")
)

// readyData is the data of the event "ready".
type readyData struct {
	DeviceID string           `json:"deviceId"`
	Role     store.DeviceRole `json:"role"`
	Cursor   string           `json:"cursor"`
	Resumed  *bool            `json:"resumed,omitempty"` // only for clients that asked for what follows their cursor
}

// begin authenticates the connection and makes it reachable. It returns false
// after having stopped it.
func (c *conn) begin(ctx context.Context, asked hello) bool {
	if frame := c.dialect.greeting(); frame != nil {
		c.enqueue(message{kind: textMessage, data: frame})
	}
	h, err := c.hello(asked)
	if err != nil {
		c.deny(h.id, err)
		return false
	}
	p, err := c.authenticate(ctx, h.token)
	if err != nil {
		c.deny(h.id, err)
		return false
	}
	if err := c.g.join(c, p.UserID, p.DeviceID); err != nil {
		code := CloseTryAgain
		if errors.Is(err, bus.ErrClosed) {
			code = CloseGoingAway
		}
		c.stop(code, "the device cannot be reached here now")
		return false
	}
	// The token may have been revoked after the first look, and before join
	// made the connection reachable for Revoked.
	if p, err = c.authenticate(ctx, h.token); err != nil {
		c.deny(h.id, err)
		return false
	}
	c.token, c.principal, c.checked = h.token, p, time.Now()
	c.ws.SetReadLimit(maxMessage)
	c.alive()
	c.g.log.Info("device connected", slog.String("device", p.DeviceID))
	var ready []func(context.Context)
	for _, hook := range c.g.hooks {
		c.g.run(ctx, func(ctx context.Context) { ready = append(ready, hook(ctx, p.DeviceID)) })
	}
	if err := c.resume(ctx, h, readyData{DeviceID: p.DeviceID, Role: p.Role}); err != nil {
		c.g.log.Warn("device not brought up to date", slog.String("device", p.DeviceID), slog.Any("err", err))
		c.stop(CloseTryAgain, "the device's events cannot be read now")
		return false
	}
	for _, f := range ready {
		c.g.run(ctx, f)
	}
	return true
}

// hello returns what the client shows to be let in: in its request or, what
// counts more, in its first message.
func (c *conn) hello(asked hello) (hello, error) {
	if asked.token != "" {
		token, ok := auth.BearerToken(asked.token)
		if !ok {
			return hello{}, errNoToken
		}
		asked.token = token
		if c.dialect.silent() {
			return asked, nil
		}
	}
	frame, ok := c.next()
	if !ok {
		return hello{}, errNoToken // never sent: next has stopped the connection
	}
	h, err := c.dialect.first(frame)
	h.token, h.after = cmp.Or(h.token, asked.token), cmp.Or(h.after, asked.after)
	if err != nil && !errors.Is(err, errNoToken) {
		err = errNoToken.With(err)
	}
	return h, err
}

func (c *conn) authenticate(ctx context.Context, token string) (auth.Principal, error) {
	ctx, cancel := context.WithTimeout(ctx, c.g.cfg.HandlerTimeout)
	defer cancel()
	p, d, err := c.g.cfg.Auth.Device(ctx, token)
	if err != nil {
		return auth.Principal{}, err
	}
	p.DeviceID, p.Role, p.IP = d.ID, d.Role, c.ip
	return p, nil
}

// recheck ends the connection when its token has expired, or was revoked
// while the bus could not tell. It is called now and then.
func (c *conn) recheck(ctx context.Context) {
	if c.token == "" || time.Since(c.checked) < c.g.cfg.RecheckEvery {
		return
	}
	c.checked = time.Now()
	_, err := c.authenticate(ctx, c.token)
	if refused(err) && c.stop(CloseRevoked, "the token does not hold any more") {
		c.g.revoked.Add(1)
	}
}

// refused tells a token that does not hold from a database that does not
// answer.
func refused(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind != fault.Unavailable
}

// deny tells the client why it is not let in, and closes.
func (c *conn) deny(id string, err error) {
	p, internal := problemOf(err)
	if !refused(err) {
		if internal {
			c.g.log.Error("device not authenticated", slog.Any("err", err))
		}
		c.say(c.dialect.deny(id, p))
		c.stop(CloseTryAgain, "authentication is not possible now")
		return
	}
	p.Code = errNoToken.Code // whatever else is wrong with the token is nobody's business
	c.say(c.dialect.deny(id, p))
	c.stop(CloseUnauthenticated, "unauthenticated")
}

// handle answers one message of an authenticated client.
func (c *conn) handle(ctx context.Context, frame []byte) {
	in, err := c.dialect.parse(frame)
	switch {
	case err != nil:
		c.fail(in.id, "", err)
		return
	case in.leaves:
		c.stop(CloseNormal, "")
		return
	case in.nothing:
		c.recheck(ctx)
		return
	}
	h, ok := c.g.handlers[in.event]
	if !ok {
		c.fail(in.id, in.event, errUnknownEvent)
		return
	}
	if err := c.within(in.event, h.limit, len(in.data)); err != nil {
		c.g.refusedEvents.Add(1)
		c.fail(in.id, in.event, err)
		return
	}
	err = errPanicked
	var data any
	c.g.run(ctx, func(ctx context.Context) { data, err = h.handle(ctx, c.principal, in.data) })
	if err != nil {
		c.fail(in.id, in.event, err)
		return
	}
	if in.id == "" {
		return
	}
	reply, err := encode(eventReply, data)
	if err != nil {
		c.fail(in.id, in.event, err)
		return
	}
	c.say(c.dialect.reply(in.id, reply))
}

// within holds an event to the limit of its handler.
func (c *conn) within(event string, l Limit, size int) error {
	if l.Bytes > 0 && size > l.Bytes {
		return errTooLong
	}
	if l.PerSecond <= 0 {
		return nil
	}
	limiter := c.limiters[event]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Limit(l.PerSecond), l.Burst)
		if c.limiters == nil {
			c.limiters = make(map[string]*rate.Limiter)
		}
		c.limiters[event] = limiter
	}
	if !limiter.Allow() {
		return errTooOften
	}
	return nil
}

var errPanicked = errors.New("gateway: handler panicked")

// run calls f with a deadline and survives its panic.
func (g *Gateway) run(ctx context.Context, f func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.HandlerTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			g.panicked(v)
		}
	}()
	f(ctx)
}

// fail tells the client that its message was not carried out.
func (c *conn) fail(id, event string, err error) {
	p, internal := problemOf(err)
	if internal {
		c.g.log.Error("event failed", slog.String("event", event), slog.String("device", c.principal.DeviceID), slog.Any("err", err))
	}
	c.say(c.dialect.problem(id, p))
}

func (c *conn) say(frame []byte) { c.enqueue(message{kind: textMessage, data: frame}) }
