package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

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
}

// begin authenticates the connection and makes it reachable. It returns false
// after having stopped it.
func (c *conn) begin(ctx context.Context, authorization string) bool {
	token, id, err := c.firstToken(authorization)
	if err != nil {
		c.deny(id, err)
		return false
	}
	p, err := c.authenticate(ctx, token)
	if err != nil {
		c.deny(id, err)
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
	if p, err = c.authenticate(ctx, token); err != nil {
		c.deny(id, err)
		return false
	}
	c.token, c.principal, c.checked = token, p, time.Now()
	c.ws.SetReadLimit(maxMessage)
	c.alive()
	c.tell(eventReady, id, readyData{DeviceID: p.DeviceID, Role: p.Role})
	c.g.log.Info("device connected", slog.String("device", p.DeviceID))
	for _, hook := range c.g.hooks {
		c.g.run(ctx, func(ctx context.Context) { hook(ctx, p.DeviceID) })
	}
	return true
}

// firstToken returns the token of the Authorization header or, without one, of
// the first message, whose id it returns as well.
func (c *conn) firstToken(authorization string) (token, id string, err error) {
	if authorization != "" {
		token, ok := auth.BearerToken(authorization)
		if !ok {
			return "", "", errNoToken
		}
		return token, "", nil
	}
	frame, ok := c.next()
	if !ok {
		return "", "", errNoToken // never sent: next has stopped the connection
	}
	e, err := parseEnvelope(frame)
	if err != nil {
		return "", e.id, errNoToken.With(err)
	}
	var data struct {
		Token string `json:"token"`
	}
	if e.event != eventAuthenticate {
		return "", e.id, errNoToken
	}
	if err := Decode(e.data, &data); err != nil {
		return "", e.id, errNoToken.With(err)
	}
	return data.Token, e.id, nil
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
	if !refused(err) {
		c.fail(id, eventAuthenticate, err)
		c.stop(CloseTryAgain, "authentication is not possible now")
		return
	}
	p, _ := problemOf(err)
	p.Code = errNoToken.Code // whatever else is wrong with the token is nobody's business
	c.tell(eventError, id, p)
	c.stop(CloseUnauthenticated, "unauthenticated")
}

// handle answers one message of an authenticated client.
func (c *conn) handle(ctx context.Context, frame []byte) {
	e, err := parseEnvelope(frame)
	if err != nil {
		c.fail(e.id, "", err)
		return
	}
	h, ok := c.g.handlers[e.event]
	if !ok {
		c.fail(e.id, e.event, errUnknownEvent)
		return
	}
	err = errPanicked
	var data any
	c.g.run(ctx, func(ctx context.Context) { data, err = h(ctx, c.principal, e.data) })
	if err != nil {
		c.fail(e.id, e.event, err)
		return
	}
	if e.id == "" {
		return
	}
	if data == nil {
		data = struct{}{}
	}
	c.tell(eventReply, e.id, data)
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
	c.tell(eventError, id, p)
}

func (c *conn) tell(event, id string, data any) {
	frame, err := encode(event, id, data)
	if err != nil {
		c.g.log.Error("message not sent", slog.String("event", event), slog.String("device", c.principal.DeviceID), slog.Any("err", err))
		if event == eventReply {
			c.fail(id, event, fmt.Errorf("gateway: reply: %w", err))
		}
		return
	}
	c.enqueue(message{kind: textMessage, data: frame})
}
