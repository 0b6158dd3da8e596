// Package transport connects to one WebRTC peer without a PeerConnection: ICE over a shared UDP socket (RFC 8445,
// controlled role) or over TCP (RFC 6544), DTLS 1.2 as server, and the SRTP keys that come of it (RFC 5764). Media itself does not pass
// through it: who has the keys and RemoteAddr seals packets and sends them from the shared socket.
//
// A Transport costs little while nothing happens on it. All addresses of the host share one ICE candidate a family, as
// they share the socket, and the DTLS connection is put away when the handshake has settled: it comes back for the
// peer's close_notify.
package transport

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// Transport is a connection to one peer. New, Connect and Close are called in this order; everything else may be
// called from any goroutine, but Close, Connect and Restart not from a callback.
type Transport struct {
	cfg   Config
	dtls  []dtls.Option
	check verifier
	offer bool // we made the offer
	agent *ice.Agent
	conn  atomic.Pointer[ice.Conn] // nil before Connect
	begun chan struct{}            // closed when conn is there

	pair      atomic.Pointer[pair]                  // selected last; kept during an ICE restart
	reached   atomic.Pointer[time.Time]             // when there was one first
	integrity atomic.Pointer[stun.MessageIntegrity] // of the peer; nil before it is known
	onMedia   atomic.Pointer[func([]byte)]
	onAddress atomic.Pointer[func(netip.AddrPort)]

	ending    sync.Once
	closing   sync.Once
	done      chan struct{}
	settled   chan struct{} // closed when Connect is over
	reason    string        // set before done is closed
	connected atomic.Bool
	confirmed atomic.Bool        // the peer has our last flight
	mismatch  atomic.Bool        // the peer's certificate was another one
	abort     context.CancelFunc // ends Connect
	ctx       context.Context    //nolint:containedctx // the transport's own life, not a caller's
	loops     sync.WaitGroup

	patient atomic.Bool // media waits for a slow TCP peer

	ice struct { // an ICE session begins with New and with each Restart
		sync.Mutex
		local      Local
		remote     credentials
		candidates int         // of the peer, taken in this ICE session
		waiting    []candidate // that came before Connect
	}
	slow []*streams // of the ICE session; guarded by ice

	record struct { // DTLS records
		sync.Mutex
		pipe   *pipe       // feeds conn, and the handshake before it; nil while parked
		conn   *dtls.Conn  // nil before the handshake is over and while parked
		parked *dtls.State // what conn is made of again
		closed bool
	}
}

// pair is where the peer is.
type pair struct {
	remote ice.Candidate
	addr   netip.AddrPort // zero if it cannot be sent to from the UDP socket
}

// New prepares a transport for a peer that has made an offer: it gathers the host's candidates, which takes no time,
// as there is nobody to ask. It fails with ErrRemote on an offer that it cannot or must not accept.
func New(cfg Config, r Remote) (*Transport, error) {
	check, err := r.verify()
	if err != nil {
		return nil, err
	}
	t, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	t.meet(r, check)
	return t, nil
}

// Offer prepares a transport for a peer that is made an offer. Answered is called before Connect.
func Offer(cfg Config) (*Transport, error) {
	t, err := prepare(cfg)
	if err == nil {
		t.offer = true
	}
	return t, err
}

// Answered takes the peer's side of an offer. It fails with ErrRemote on an answer that it cannot or must not accept,
// after which another one may be taken.
func (t *Transport) Answered(r Remote) error {
	if r.Setup != "active" { // we are the DTLS server
		return fmt.Errorf("%w: DTLS role %q", ErrRemote, r.Setup)
	}
	check, err := r.verify()
	if err != nil {
		return err
	}
	t.meet(r, check)
	return nil
}

func prepare(cfg Config) (*Transport, error) {
	t := &Transport{cfg: cfg.withDefaults(), begun: make(chan struct{}), done: make(chan struct{}), settled: make(chan struct{})}
	t.record.pipe = newPipe(t)
	t.ctx, t.abort = context.WithCancel(context.Background())
	if err := t.listen(); err != nil {
		t.abort()
		return nil, err
	}
	return t, nil
}

// meet keeps what the peer has said of itself.
func (t *Transport) meet(r Remote, check verifier) {
	t.check = check
	t.dtls = t.options()
	t.ice.remote = credentials{r.Ufrag, r.Pwd}
	t.expect(r.Pwd)
	for _, line := range r.Candidates {
		_ = t.AddCandidate(line) // an offer may name what we do not know yet
	}
}

// Connect runs ICE and then DTLS, until ctx or Config.ConnectTimeout is over or Close is called. It is called once.
// When it fails without Done being closed, ctx was over.
func (t *Transport) Connect(ctx context.Context) (Session, error) {
	if !t.enter() {
		return Session{}, ErrClosed
	}
	defer t.loops.Done()
	defer close(t.settled)
	ctx, cancel := context.WithTimeoutCause(ctx, t.cfg.ConnectTimeout, errTimeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	s, err := t.connect(ctx)
	switch {
	case err == nil:
		t.connected.Store(true)
		return s, nil
	case t.ended():
		return Session{}, fmt.Errorf("transport: %s: %w", t.reason, err)
	case errors.Is(context.Cause(ctx), errTimeout):
		t.end(ReasonConnectTimeout)
	case ctx.Err() == nil:
		t.end(ReasonConnectFailed)
	}
	return Session{}, fmt.Errorf("transport: %w", err)
}

// enter has Close wait for what follows, so that a handshake that is just over still says goodbye.
func (t *Transport) enter() bool {
	t.record.Lock()
	defer t.record.Unlock()
	if t.record.closed {
		return false
	}
	t.loops.Add(1)
	return true
}

func (t *Transport) connect(ctx context.Context) (Session, error) {
	if err := t.accept(); err != nil {
		return Session{}, err
	}
	if err := t.agent.AwaitConnect(ctx); err != nil {
		return Session{}, fmt.Errorf("ice: %w", err)
	}
	return t.handshake(ctx)
}

// Write sends a packet on the selected pair through the ICE agent: for media that cannot go to RemoteAddr.
func (t *Transport) Write(b []byte) error {
	conn := t.conn.Load()
	if conn == nil {
		return ErrNotConnected
	}
	_, err := conn.Write(b)
	return err
}

// SetPatient says whether Write may wait for a peer on TCP that takes media slowly; otherwise it drops what does not
// fit, as the network does. It never waits for anybody else.
func (t *Transport) SetPatient(patient bool) {
	t.ice.Lock()
	defer t.ice.Unlock()
	t.patient.Store(patient)
	for _, s := range t.slow {
		s.patient.Store(patient)
	}
}

// OnMedia sets what is called with every RTP and RTCP packet that came up through ICE instead of being taken from the
// socket by its address: the peer may send from another address than the one that it chose to receive on. The packet
// belongs to the callback while it runs, which may decrypt it in place; it must not block. Nothing has authenticated
// the packet.
func (t *Transport) OnMedia(f func(b []byte)) { t.onMedia.Store(&f) }

// OnRemoteAddr sets what is called when RemoteAddr changes, and at once if there is an address already. Calls are not
// concurrent but for that first one.
func (t *Transport) OnRemoteAddr(f func(netip.AddrPort)) {
	t.onAddress.Store(&f)
	if a := t.RemoteAddr(); a.IsValid() {
		f(a)
	}
}

// RemoteAddr returns where media is to be sent: the remote address of the selected pair. It is the zero AddrPort until
// there is a pair. It stays during an ICE restart until a new pair is selected.
func (t *Transport) RemoteAddr() netip.AddrPort {
	if p := t.pair.Load(); p != nil {
		return p.addr
	}
	return netip.AddrPort{}
}

// RTT returns how long the last connectivity check on the selected pair took, 0 if that is not known.
func (t *Transport) RTT() time.Duration {
	stats, ok := t.agent.GetSelectedCandidatePairStats()
	if !ok {
		return 0
	}
	return time.Duration(stats.CurrentRoundTripTime * float64(time.Second))
}

// Done is closed when the transport has ended: by the peer, by the network or by Close. It holds its memory until
// Close.
func (t *Transport) Done() <-chan struct{} { return t.done }

// Reason says why the transport ended; it is empty before Done is closed.
func (t *Transport) Reason() string {
	if !t.ended() {
		return ""
	}
	return t.reason
}

func (t *Transport) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// end ends the transport for its owner; the first reason stays.
func (t *Transport) end(reason string) {
	t.ending.Do(func() {
		t.reason = reason
		close(t.done)
		t.abort()
	})
}

// Fail ends the transport for its owner, who still has to Close it. It does not wait; the first reason stays.
func (t *Transport) Fail(reason string) { t.end(reason) }

// Close says goodbye to the peer (close_notify: RFC 5246, section 7.2.1) if it may still hear it, frees everything,
// and returns when no callback runs any more. The reason is only kept if the transport has not ended before.
func (t *Transport) Close(reason string) error {
	var err error
	t.closing.Do(func() {
		t.settle()
		t.end(reason)
		t.goodbye()
		t.loops.Wait()
		err = t.agent.GracefulClose()
		t.ice.Lock()
		defer t.ice.Unlock()
		t.closeSlow()
	})
	return err
}

// settle lets a handshake end that is under way: the peer may be through with it already, and only DTLS can tell it
// that we close.
func (t *Transport) settle() {
	if t.pair.Load() == nil {
		return
	}
	timer := time.NewTimer(handshakeGrace)
	defer timer.Stop()
	select {
	case <-t.settled:
	case <-t.done:
	case <-timer.C:
	}
}

// state follows the ICE agent. Disconnected says nothing yet: the peer has until FailedTimeout to come back, or to
// restart ICE.
func (t *Transport) state(s ice.ConnectionState) {
	if s != ice.ConnectionStateFailed {
		return
	}
	if t.connected.Load() {
		t.end(ReasonConnectionLost)
	} else {
		t.end(ReasonConnectFailed)
	}
}

// silence is how long the selected pair may have been silent when the peer's nomination of a worse one counts: two
// consent checks (RFC 7675) went unanswered.
func (t *Transport) silence() time.Duration { return 2 * t.cfg.keepalive() }
