package gateway

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/securecam/securecam/store"
)

// EventLog keeps what devices were told, numbered for each without a hole.
type EventLog interface {
	AppendDeviceEvent(ctx context.Context, deviceID string, e store.DeviceEvent, keep int) (seq int64, err error)
	DeviceEvents(ctx context.Context, deviceID string, after int64, limit int) ([]store.DeviceEvent, error)
	DeviceEventRange(ctx context.Context, deviceID string) (oldest, newest int64, err error)
}

// resumePage is how many events are read at once; they fit into the queue.
const resumePage = 32

var errHole = errors.New("gateway: events were forgotten while they were read")

// resume lets the client in: it tells where its events begin, repeats those
// after its cursor, and from then on the connection gets new ones as they come.
func (c *conn) resume(ctx context.Context, h hello, data readyData) error {
	d := c.device
	oldest, newest, err := c.eventRange(ctx)
	if err != nil {
		return err
	}
	pos, known := position(h.after, oldest, newest)
	data.Cursor = strconv.FormatInt(pos, 10)
	if h.after != "" {
		data.Resumed = &known
		c.g.countResume(known)
	}
	for _, frame := range c.dialect.ready(h.id, data) {
		c.enqueue(message{kind: textMessage, data: frame})
	}
	d.mu.Lock()
	c.pos, d.newest = pos, max(d.newest, newest)
	d.mu.Unlock()
	for !c.upToDate() {
		if err := c.repeat(ctx); err != nil {
			return err
		}
	}
	return nil
}

// position returns where a client with a cursor goes on, and whether nothing
// behind the cursor was forgotten. Otherwise it begins with what is new.
func position(after string, oldest, newest int64) (pos int64, known bool) {
	n, err := strconv.ParseInt(after, 10, 64)
	if err != nil || n < 0 || n > newest || n < newest && n+1 < oldest {
		return newest, false
	}
	return n, true
}

// upToDate makes the connection one that events are given to as they come, if
// it has heard everything so far.
func (c *conn) upToDate() bool {
	d := c.device
	d.mu.Lock()
	defer d.mu.Unlock()
	c.live = c.pos >= d.newest
	return c.live || c.isStopped()
}

// repeat sends the next events of the log and waits until there is room for
// them: only this client waits.
func (c *conn) repeat(ctx context.Context) error {
	readCtx, cancel := context.WithTimeout(ctx, c.g.cfg.HandlerTimeout)
	defer cancel()
	events, err := c.g.cfg.Events.DeviceEvents(readCtx, c.principal.DeviceID, c.pos, resumePage)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return errHole
	}
	for _, e := range events {
		if e.Seq != c.pos+1 {
			return errHole
		}
		if !c.enqueueWait(message{kind: textMessage, data: c.dialect.event(deviceEventOf(e))}) {
			return nil // stopped
		}
		c.pos = e.Seq // nobody else touches it before the connection is live
	}
	return nil
}

func (c *conn) eventRange(ctx context.Context) (oldest, newest int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.g.cfg.HandlerTimeout)
	defer cancel()
	return c.g.cfg.Events.DeviceEventRange(ctx, c.principal.DeviceID)
}

// enqueueWait is enqueue for the connection's own reading goroutine, which may
// wait until the peer has read what came before.
func (c *conn) enqueueWait(m message) bool {
	slow := time.NewTimer(c.g.cfg.WriteTimeout)
	defer slow.Stop()
	select {
	case c.queue <- m:
		return true
	case <-c.stopped:
	case <-slow.C:
		if c.stop(CloseSlow, "not reading") {
			c.g.slow.Add(1)
		}
	}
	return false
}

func (c *conn) isStopped() bool {
	select {
	case <-c.stopped:
		return true
	default:
		return false
	}
}

// countResume counts clients that came back with a cursor.
func (g *Gateway) countResume(known bool) {
	if known {
		g.resumed.Add(1)
	} else {
		g.forgotten.Add(1)
	}
}

func deviceEventOf(e store.DeviceEvent) deviceEvent {
	return deviceEvent{Event: e.Event, Seq: e.Seq, Data: e.Data}
}

// deliver gives an event to the device's connections that are due for it, and
// reports whether one has it or will read it from the log. It never blocks.
func (g *Gateway) deliver(d *device, e deviceEvent) (taken bool) {
	conns := g.connections(d)
	behind := false
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest = max(d.newest, e.Seq)
	for _, c := range conns {
		switch {
		case e.Seq == 0:
			taken = c.live && c.enqueue(message{kind: textMessage, data: c.dialect.event(e)}) || taken
		case !c.live:
			taken = taken || !c.isStopped()
		case e.Seq <= c.pos:
			taken = true
		case e.Seq == c.pos+1:
			taken = c.give(e) || taken
		default: // another node's event before this one is still on its way
			behind, taken = true, true
		}
	}
	if behind {
		d.wake()
	}
	return taken
}

// give sends the connection the event that is due; caller holds device.mu.
func (c *conn) give(e deviceEvent) bool {
	if !c.enqueue(message{kind: textMessage, data: c.dialect.event(e)}) {
		return false
	}
	c.pos = e.Seq
	return true
}

// wake makes the device's goroutine look at the log.
func (d *device) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// catchUp gives the device's connections what the bus did not bring, or not in
// order. A log that does not answer is asked again with the next refresh.
func (g *Gateway) catchUp(d *device, look bool) {
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.HandlerTimeout)
	defer cancel()
	if look {
		_, newest, err := g.cfg.Events.DeviceEventRange(ctx, d.id)
		if err != nil {
			g.log.Warn("events not read", slog.String("device", d.id), slog.Any("err", err))
			return
		}
		d.mu.Lock()
		d.newest = max(d.newest, newest)
		d.mu.Unlock()
	}
	for {
		from, behind := g.laggard(d)
		if !behind {
			return
		}
		events, err := g.cfg.Events.DeviceEvents(ctx, d.id, from, resumePage)
		if err != nil || len(events) == 0 || events[0].Seq != from+1 {
			// Whoever is behind comes back with its cursor and is told.
			g.log.Warn("events not caught up with", slog.String("device", d.id), slog.Any("err", err))
			if err == nil {
				g.stopLaggards(d, from)
			}
			return
		}
		for _, e := range events {
			g.deliver(d, deviceEventOf(e))
		}
	}
}

// laggard returns the position of the live connection that is furthest behind.
func (g *Gateway) laggard(d *device) (from int64, behind bool) {
	conns := g.connections(d)
	d.mu.Lock()
	defer d.mu.Unlock()
	from = d.newest
	for _, c := range conns {
		if c.live && c.pos < from && !c.isStopped() {
			from, behind = c.pos, true
		}
	}
	return from, behind
}

func (g *Gateway) stopLaggards(d *device, at int64) {
	conns := g.connections(d)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		if c.live && c.pos == at {
			c.stop(CloseTryAgain, "events were forgotten before they could be sent")
		}
	}
}
