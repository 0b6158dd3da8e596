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

// agent is an ICE agent with one host candidate (RFC 8445). Controlling, it
// nominates the first address that answers (aggressive nomination); controlled,
// it takes the first one that the server nominates and that answers.
type agent struct {
	ufrag, pwd string
	send       func([]byte, netip.AddrPort) error

	mu       sync.Mutex
	username string // of our checks
	key      stun.MessageIntegrity
	pending  map[[stun.TransactionIDSize]byte]struct{}

	controlled bool
	nominated  netip.AddrPort // by the server

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

// connect sends checks until one is answered that counts.
func (a *agent) connect(ctx context.Context, server *Answer, candidates []netip.AddrPort) error {
	a.mu.Lock()
	a.username, a.key = server.Ufrag+":"+a.ufrag, stun.NewShortTermIntegrity(server.Pwd)
	a.controlled = server.offered && !server.lite // RFC 8445, section 6.1.1
	a.mu.Unlock()
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	var failed error
	for round := 0; ; round++ {
		for i, to := range append(candidates[:len(candidates):len(candidates)], a.choice()...) {
			if i == 0 || i >= len(candidates) || round >= others {
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

// choice returns the address that a controlling server has nominated, if any.
func (a *agent) choice() []netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.controlled || !a.nominated.IsValid() {
		return nil
	}
	return []netip.AddrPort{a.nominated}
}

// check sends one connectivity check, which nominates if that is up to us.
func (a *agent) check(to netip.AddrPort) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(a.username), ice.PriorityAttr(hostPriority)}
	if a.controlled {
		setters = append(setters, ice.AttrControlled(1))
	} else {
		setters = append(setters, ice.AttrControlling(1), ice.UseCandidate())
	}
	m, err := stun.Build(append(setters, a.key, stun.Fingerprint)...)
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
		valid := ours && a.key.Check(m) == nil && (!a.controlled || from == a.nominated)
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
	if m.Contains(stun.AttrUseCandidate) && a.remote.Load() == nil {
		a.nominate(from)
	}
}

// nominate notes the server's choice and checks it (RFC 8445, sections 7.3.1.4
// and 7.3.1.5). Before connect there is nothing to check with, and it does so.
func (a *agent) nominate(to netip.AddrPort) {
	a.mu.Lock()
	a.nominated = to
	ready := a.controlled
	a.mu.Unlock()
	if ready {
		_ = a.check(to) // the next one may succeed
	}
}
