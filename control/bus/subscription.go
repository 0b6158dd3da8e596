package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Msg is a message as a subscriber gets it. Data belongs to the subscriber.
type Msg struct {
	Subject string
	Data    []byte

	msg *nats.Msg
}

// Respond answers a request; the first response that arrives counts. It does
// nothing when the message was published without asking for one.
func (m Msg) Respond(data []byte) error {
	if m.msg == nil || m.msg.Reply == "" {
		return nil
	}
	if err := m.msg.Respond(data); err != nil {
		return fmt.Errorf("bus: respond to %s: %w", m.Subject, known(err))
	}
	return nil
}

// Subscription is one call of Subscribe.
type Subscription struct {
	bus *Bus
	sub *nats.Subscription
}

// Subscribe calls handle for every message on subject, in order, one at a time,
// on a goroutine of its own. When it returns, the server knows about it: a
// request sent afterwards by anybody on that server arrives. Subject may hold
// the wildcards "*" for one token and ">" for the rest.
//
// A handler that falls behind by 4096 messages or 16 MiB loses the newest,
// which Stats counts. A panic in handle is logged and counted.
func (b *Bus) Subscribe(subject string, handle func(Msg)) (Subscription, error) {
	if !validSubject(subject, true) {
		return Subscription{}, fmt.Errorf("%w: %q", ErrBadSubject, subject)
	}
	sub, err := b.conn.Subscribe(subject, func(m *nats.Msg) {
		defer b.recovered(m.Subject)
		handle(Msg{Subject: m.Subject, Data: m.Data, msg: m})
	})
	if err != nil {
		return Subscription{}, fmt.Errorf("bus: subscribe %s: %w", subject, known(err))
	}
	if err := sub.SetPendingLimits(pendingMessages, pendingBytes); err != nil {
		return Subscription{}, fmt.Errorf("bus: subscribe %s: %w", subject, known(err))
	}
	b.mu.Lock()
	b.subs[sub] = struct{}{}
	b.mu.Unlock()

	s := Subscription{bus: b, sub: sub}
	// Without a connection there is nobody to wait for: the client repeats its
	// subscriptions when it has reconnected.
	if err := b.flush(); err != nil && b.conn.IsConnected() {
		return Subscription{}, errors.Join(fmt.Errorf("bus: subscribe %s: %w", subject, known(err)), s.Unsubscribe())
	}
	return s, nil
}

// Unsubscribe ends the subscription. When it returns, what had arrived has
// been handled and a request sent afterwards by anybody on that server no
// longer finds it; no request in between is left without an answer. It must
// not be called by its own handler. A second call does nothing.
func (s Subscription) Unsubscribe() error {
	s.bus.mu.Lock()
	_, live := s.bus.subs[s.sub]
	delete(s.bus.subs, s.sub)
	s.bus.mu.Unlock()
	if !live {
		return nil
	}
	s.bus.dropped.Add(droppedBy(s.sub))
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	s.sub.SetClosedHandler(func(string) { end() })
	if s.bus.conn.IsConnected() && s.sub.Drain() == nil {
		timeout := time.NewTimer(unsubscribeTimeout)
		defer timeout.Stop()
		select {
		case <-ended:
			return nil
		case <-s.bus.closed:
			return nil
		case <-timeout.C:
		}
	}
	// Whoever is not connected is not subscribed either, and a handler that
	// does not return does not keep its subscription.
	if err := s.sub.Unsubscribe(); err != nil && s.bus.conn.IsConnected() {
		return fmt.Errorf("bus: unsubscribe %s: %w", s.sub.Subject, known(err))
	}
	return nil
}

// flush waits until the server has handled everything sent so far.
func (b *Bus) flush() error {
	if !b.conn.IsConnected() {
		return nats.ErrDisconnected
	}
	return b.conn.FlushTimeout(flushTimeout)
}

// recovered keeps a subscriber's panic from ending the process. It must be
// deferred itself.
func (b *Bus) recovered(subject string) {
	if v := recover(); v != nil {
		b.panics.Add(1)
		b.log.Error("bus subscriber panicked", slog.String("subject", subject), slog.Any("err", v), slog.String("stack", string(debug.Stack())))
	}
}

// droppedBy returns how many messages sub has lost.
func droppedBy(sub *nats.Subscription) uint64 {
	n, err := sub.Dropped()
	if err != nil || n < 0 {
		return 0
	}
	return uint64(n)
}
