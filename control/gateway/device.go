package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/store"
)

// device is one device for as long as this process holds connections of it,
// and a moment longer. Its goroutine (hold) owns its subscription and is the
// only writer of its presence.
type device struct {
	id         string
	userID     string
	conns      []*conn       // oldest first; guarded by Gateway.mu
	left       bool          // no connection was left, or there never was a subscription; guarded by Gateway.mu
	empty      chan struct{} // closed when left becomes true
	succeeded  chan struct{} // closed when a newer device takes over
	subscribed chan struct{} // closed when err is set
	err        error         // of subscribing
	gone       chan struct{} // closed when the goroutine writes no more
	woken      chan struct{} // holds a value when a connection is behind

	mu     sync.Mutex // guards what follows, and pos and live of the connections; nothing blocks under it
	newest int64      // the last event of the device that this node has heard of
}

// join adds c to its device and returns when events sent to the device from
// anywhere reach c. It returns bus.ErrClosed when the gateway is closing.
func (g *Gateway) join(c *conn, userID, id string) error {
	g.mu.Lock()
	if g.closing {
		g.mu.Unlock()
		return bus.ErrClosed
	}
	d := g.devices[id]
	if d == nil || d.left {
		d = g.start(userID, id, d)
	}
	var oldest *conn
	if len(d.conns) >= g.cfg.MaxDeviceConns {
		oldest = d.conns[0]
		d.conns = d.conns[1:]
	}
	d.conns = append(d.conns, c)
	c.device = d
	g.known(c)
	g.mu.Unlock()

	if oldest != nil {
		g.replaced.Add(1)
		oldest.stop(CloseReplaced, "the device has too many newer connections")
	}
	<-d.subscribed
	return d.err
}

// start makes the device that follows prev, which may be nil; caller holds mu.
func (g *Gateway) start(userID, id string, prev *device) *device {
	d := &device{
		id:         id,
		userID:     userID,
		empty:      make(chan struct{}),
		succeeded:  make(chan struct{}),
		subscribed: make(chan struct{}),
		gone:       make(chan struct{}),
		woken:      make(chan struct{}, 1),
	}
	if prev != nil {
		close(prev.succeeded)
	}
	g.devices[id] = d
	g.wg.Add(1)
	go g.hold(d, prev)
	return d
}

// remove takes c from its device; caller holds Gateway.mu.
func (d *device) remove(c *conn) {
	// A replaced connection is no longer among them.
	if i := slices.Index(d.conns, c); i >= 0 {
		d.conns = slices.Delete(d.conns, i, i+1)
	}
	if len(d.conns) == 0 {
		d.leave()
	}
}

// leave lets the goroutine go on to the device's end; caller holds Gateway.mu.
func (d *device) leave() {
	if !d.left {
		d.left = true
		close(d.empty)
	}
}

// hold subscribes, keeps the device online while it has connections and
// records it offline when it has none any more, here and elsewhere.
func (g *Gateway) hold(d, prev *device) {
	defer g.wg.Done()
	defer g.forget(d)
	sub, err := g.cfg.Bus.Subscribe(bus.DeviceTopic(d.id)+".*", func(m bus.Msg) { g.receive(d, m) })
	d.err = err
	close(d.subscribed)
	if err != nil {
		g.log.Error("device cannot be reached", slog.String("device", d.id), slog.Any("err", err))
		g.mu.Lock()
		d.leave()
		g.mu.Unlock()
	}
	if prev != nil {
		<-prev.gone
	}
	if err == nil {
		g.stayOnline(d)
		if err := sub.Unsubscribe(); err != nil {
			g.log.Warn("device not unsubscribed", slog.String("device", d.id), slog.Any("err", err))
		}
	}
	g.goOffline(d)
}

// forget ends d, unless a newer device has its place already.
func (g *Gateway) forget(d *device) {
	g.mu.Lock()
	if g.devices[d.id] == d {
		delete(g.devices, d.id)
	}
	g.mu.Unlock()
	close(d.gone)
}

// stayOnline returns when the last connection has gone. Until then it renews
// lastSeenAt, since presence that is not renewed counts as offline, and sees to
// it that no event is missing that the bus has lost.
func (g *Gateway) stayOnline(d *device) {
	refresh := time.NewTicker(g.cfg.PresenceRefresh)
	defer refresh.Stop()
	g.setPresence(d.id, store.DeviceOnline)
	for {
		select {
		case <-d.empty:
			return
		case <-d.woken:
			g.catchUp(d, false)
		case <-refresh.C:
			g.setPresence(d.id, store.DeviceOnline)
			g.catchUp(d, true)
		}
	}
}

// goOffline records the device as offline after the delay, unless it is back.
func (g *Gateway) goOffline(d *device) {
	delay := time.NewTimer(g.cfg.OfflineDelay)
	defer delay.Stop()
	select {
	case <-d.succeeded:
		return
	case <-g.done:
	case <-delay.C:
	}
	// Every node unsubscribes before it asks, so of two that lose the device
	// together at least one finds nobody.
	if g.elsewhere(d.id) {
		return
	}
	g.setPresence(d.id, store.DeviceOffline)
	// A node that got the device in between subscribed before it wrote online,
	// so either it is found now, or its write is still to come.
	if g.elsewhere(d.id) {
		g.setPresence(d.id, store.DeviceOnline)
	}
}

func (g *Gateway) setPresence(id string, status store.DeviceStatus) {
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.HandlerTimeout)
	defer cancel()
	err := g.cfg.Presence.SetPresence(ctx, id, status, g.cfg.Now().UTC().Truncate(time.Millisecond))
	// A deleted device has no presence. Other failures are mended by the next
	// refresh, or by the staleness of what is written.
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		g.log.Warn("presence not recorded", slog.String("device", id), slog.String("status", string(status)), slog.Any("err", err))
	}
}

// connections returns a copy of the device's connections.
func (g *Gateway) connections(d *device) []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(d.conns)
}
