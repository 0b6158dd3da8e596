package sfu

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/feedback"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/transport"
)

// maxRoutes bounds the addresses that one viewer's RTCP is taken from at once.
const maxRoutes = 4

// ingress is how a viewer's RTCP comes in: from the socket's reader, or through ICE from an address that is not known
// yet.
type ingress struct {
	mu       sync.Mutex // guards receiver and routes
	receiver *seal.Receiver
	routes   []netip.AddrPort
	closed   bool

	clock func() int64
	ready atomic.Pointer[shard] // set once the viewer's down tracks are there
}

// secure sets a viewer's keys up and routes its media.
func (sess *session) secure(s *SFU, keys transport.Session) error {
	sender, err := seal.NewSender(seal.Profile(keys.Profile), seal.Keys(keys.Local))
	if err != nil {
		return err
	}
	receiver, err := seal.NewReceiver(seal.Profile(keys.Profile), seal.Keys(keys.Remote))
	if err != nil {
		return err
	}
	sess.egress = &egress{conn: s.engine.socket.conn, sender: sender, slow: sess.link.Write}
	sess.receiver, sess.clock = receiver, s.clock
	sess.link.OnMedia(sess.receive)
	sess.link.OnRemoteAddr(func(at netip.AddrPort) { sess.follow(s.engine.socket, at) })
	sess.follow(s.engine.socket, sess.link.RemoteAddr())
	return nil
}

// follow sends to the viewer's address, and takes its RTCP from there: also from those it had before, for a while.
func (sess *session) follow(socket *socket, at netip.AddrPort) {
	sess.egress.aim(at)
	if !at.IsValid() {
		return
	}
	sess.ingress.mu.Lock()
	defer sess.ingress.mu.Unlock()
	if sess.ingress.closed {
		return
	}
	if len(sess.routes) == maxRoutes {
		socket.unroute(sess.routes[0], sess)
		sess.routes = sess.routes[1:]
	}
	sess.routes = append(sess.routes, at)
	socket.route(at, sess)
}

// unfollow takes nothing from the viewer any more.
func (sess *session) unfollow(socket *socket) {
	sess.ingress.mu.Lock()
	defer sess.ingress.mu.Unlock()
	sess.ingress.closed = true
	for _, at := range sess.routes {
		socket.unroute(at, sess)
	}
}

// receive implements mediaPeer: a viewer sends RTCP only (RFC 5761, section 4, tells it from RTP).
func (sess *session) receive(b []byte) {
	sh := sess.ready.Load()
	if sh == nil || len(b) < 2 || b[1] < 192 || b[1] > 223 {
		return
	}
	sess.ingress.mu.Lock()
	plain, ok := sess.receiver.RTCP(b)
	sess.ingress.mu.Unlock()
	if !ok {
		return
	}
	r, ok := feedback.Read(plain)
	if !ok {
		return
	}
	at := time.Duration(sess.clock())
	for r.Next() {
		switch e := &r.Event; e.Kind { //nolint:exhaustive // nothing else is answered
		case feedback.PLI, feedback.FIR:
			if d := sess.downOf(e.Media); d != nil {
				d.track.requestKeyframe()
			}
		case feedback.NACK:
			if d := sess.downOf(e.Media); d != nil && !sh.ask(missing{down: d, pid: e.PID, blp: e.BLP, at: at}) {
				d.track.counters.dropped.Add(1)
			}
		}
	}
}

// downOf returns the down track with this SSRC. An FIR names it elsewhere (RFC 5104, section 4.3.1): then, and in any
// other case of doubt, it is nil.
func (sess *session) downOf(ssrc uint32) *downTrack {
	for _, t := range sess.tracks {
		if t.st.ssrc == ssrc {
			return t.down
		}
	}
	return nil
}
