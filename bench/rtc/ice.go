package rtc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

const (
	checkInterval = 50 * time.Millisecond
	// others is the round of checks from which on candidates other than the
	// preferred one are tried.
	others       = 3
	hostPriority = 126<<24 | 65535<<8 | 255 // RFC 8445, section 5.1.2
)

// agent is a controlling ICE agent with one host candidate, which nominates
// the first address that answers (RFC 8445 by aggressive nomination).
type agent struct {
	ufrag, pwd string
	send       func([]byte, netip.AddrPort) error

	mu       sync.Mutex
	username string // of our checks
	key      stun.MessageIntegrity
	pending  map[[stun.TransactionIDSize]byte]struct{}

	ownKey stun.MessageIntegrity
	remote atomic.Pointer[netip.AddrPort]
	found  chan struct{} // closed when remote is set
}

func (a *agent) init() {
	a.ufrag, a.pwd = token(4), token(16)
	a.ownKey = stun.NewShortTermIntegrity(a.pwd)
	a.pending = make(map[[stun.TransactionIDSize]byte]struct{})
	a.found = make(chan struct{})
}

func token(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (a *agent) selected() netip.AddrPort {
	if p := a.remote.Load(); p != nil {
		return *p
	}
	return netip.AddrPort{}
}

// connect sends checks until one is answered.
func (a *agent) connect(ctx context.Context, ufrag, pwd string, candidates []netip.AddrPort) error {
	a.mu.Lock()
	a.username, a.key = ufrag+":"+a.ufrag, stun.NewShortTermIntegrity(pwd)
	a.mu.Unlock()
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	var failed error
	for round := 0; ; round++ {
		for i, to := range candidates {
			if i == 0 || round >= others {
				if err := a.check(to); err != nil {
					failed = err
				}
			}
		}
		select {
		case <-a.found:
			return nil
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("rtc: no answer to ICE checks: %w", ctx.Err()), failed)
		}
	}
}

// check sends one connectivity check that nominates.
func (a *agent) check(to netip.AddrPort) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(a.username),
		ice.AttrControlling(1), ice.UseCandidate(), ice.PriorityAttr(hostPriority), a.key, stun.Fingerprint)
	if err != nil {
		return err
	}
	if len(a.pending) > 64 {
		clear(a.pending) // answers that never came
	}
	a.pending[m.TransactionID] = struct{}{}
	return a.send(m.Raw, to)
}

// keepAlive renews the consent of the server (RFC 7675).
func (a *agent) keepAlive(ctx context.Context) {
	tick := time.NewTicker(keepalive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = a.check(a.selected()) // the next one may succeed
		case <-ctx.Done():
			return
		}
	}
}

// handle takes a STUN message, on the poller's goroutine.
func (a *agent) handle(b []byte, from netip.AddrPort) {
	m := &stun.Message{Raw: b}
	if m.Decode() != nil {
		return
	}
	switch m.Type {
	case stun.BindingRequest:
		a.answer(m, from)
	case stun.BindingSuccess:
		a.mu.Lock()
		_, ours := a.pending[m.TransactionID]
		delete(a.pending, m.TransactionID)
		valid := ours && a.key.Check(m) == nil
		a.mu.Unlock()
		if valid && a.remote.CompareAndSwap(nil, &from) {
			close(a.found)
		}
	}
}

func (a *agent) answer(m *stun.Message, from netip.AddrPort) {
	if a.ownKey.Check(m) != nil {
		return
	}
	reply, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: net.IP(from.Addr().AsSlice()), Port: int(from.Port())}, a.ownKey, stun.Fingerprint)
	if err == nil {
		_ = a.send(reply.Raw, from) // lost like on the network
	}
}
