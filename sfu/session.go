package sfu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/datachannel"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/transport"
)

// session is one WHIP or WHEP session: a transport, and what is received from it or sent through it.
type session struct {
	id       string
	cname    string // of our streams and reports
	role     role
	mediaID  string
	viewer   string // the viewer's name, for play
	specs    []spec
	bundled  bool // the peer offered a BUNDLE group
	mixed    bool // and header extensions of both forms
	ice      iceSession
	counter  *counterOffer // nil for a session that the peer has offered
	link     *transport.Transport
	sections []transport.Section // the answer
	remote   transport.Remote    // the offer
	done     chan struct{}       // closed with the session
	loops    sync.WaitGroup      // goroutines of the session

	// Guarded by SFU.mu.
	number      uint64 // a later session has a greater one
	since       time.Time
	connectedAt time.Time
	profile     string // of SRTP
	media       *media
	connected   bool
	closed      bool

	ingress ingress
	flood   flood       // guarded by ingress.mu
	uplink  uplink      // of a publisher; guarded by ingress.mu
	down    downlink    // of a publisher
	lacking atomic.Bool // packets of a publisher, which are to be asked for at their time

	simulcast simulcast // of a publisher; guarded by ingress.mu once it is answered

	speaker  *speaker          // of a publisher that hears viewers
	intercom *intercom         // of a viewer that may talk; set before it connects
	talk     uint8             // payload type of its audio
	data     *datachannel.Peer // nil without data channels
	board    *switchboard      // set before it connects

	// Viewer only.
	receiver *seal.Receiver // guarded by ingress.mu
	egress   *egress
	promised bool // it agreed to tell of the way to it, should that decide what it gets
	costly   bool // its packets cost several times what AES-GCM does
	tracks   []*viewerTrack
	seat     *seat
	offered  CandidateCounts
	fate     atomic.Pointer[transport.Status] // how the transport ended by itself
	looked   atomic.Pointer[look]             // the last that was asked of the shard
	shard    atomic.Pointer[shard]            // set once the down tracks are there
	lane     *shard                           // nil on a shared shard; guarded by SFU.mu
	parted   chan struct{}                    // closed when the viewer was told that it is over; nil if it was on no shard
}

func newSession(r role, mediaSession string, o *offer) *session {
	sess := &session{
		id: secret(), cname: secret()[:12], role: r, mediaID: mediaSession, bundled: o.bundled, mixed: o.mixed(), done: make(chan struct{}),
		seat: newSeat(),
	}
	sess.ice.begin(o.ufrag, o.attribute(o.sections[0].media, "ice-pwd"))
	sess.offered = o.countCandidates()
	return sess
}

// transportOf is the configuration of a session's transport.
func (s *SFU) transportOf(sess *session) transport.Config {
	cfg := s.transport
	if sess.role == play {
		cfg.DisconnectedTimeout, cfg.FailedTimeout = s.cfg.ConsentTimeout/2, s.cfg.ConsentTimeout/2
	}
	if sess.data != nil {
		cfg.OnData = sess.data.Serve
	}
	return cfg
}

// dial prepares the session's transport from the peer's offer.
func (s *SFU) dial(sess *session) error {
	link, err := transport.New(s.transportOf(sess), sess.remote)
	if errors.Is(err, transport.ErrRemote) {
		return fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	sess.link = link
	return err
}

// answer holds every server candidate: RFC 9725, section 4.3.1, has no trickle from the server.
func (sess *session) answer() Answer {
	return Answer{SessionID: sess.id, ETag: sess.ice.etag, SDP: transport.BuildAnswer(transport.Answer{
		Offer: sess.counter != nil, ID: uint64(rand.Int64()), Bundle: sess.bundled, Mixed: sess.mixed,
		Local: sess.link.Local(), Sections: sess.sections,
	})}
}

// run connects the session and waits for its end.
func (s *SFU) run(sess *session) {
	if sess.counter != nil && !s.awaitAnswer(sess) {
		s.lost(sess, "offer_expired")
		return
	}
	keys, err := sess.link.Connect(context.Background())
	if err == nil {
		err = s.secure(sess, keys)
	}
	if err != nil {
		sess.noteFate()
		s.lost(sess, orReason(sess.link.Reason(), transport.ReasonConnectFailed))
		return
	}
	s.connected(sess)
	<-sess.link.Done()
	sess.noteFate()
	s.lost(sess, sess.link.Reason())
}

// noteFate keeps what the transport had come to, for who asks why the session ended.
func (sess *session) noteFate() {
	st := sess.link.Status()
	sess.fate.Store(&st)
}

func orReason(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return reason
}

// open makes the session known and lets it connect. Caller holds mu.
func (s *SFU) open(sess *session, m *media) {
	sess.media = m
	s.opened++
	sess.number, sess.since = s.opened, now()
	s.sessions[sess.id] = sess
	sess.loops.Go(func() { s.run(sess) })
}

// connected is called when ICE and DTLS are up.
func (s *SFU) connected(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.closed || sess.connected || sess.media == nil {
		return
	}
	sess.connected, sess.connectedAt = true, now()
	if sess.role == publish {
		s.adopt(sess.media, sess)
	} else {
		s.startViewer(sess)
	}
	s.log.Info("peer connected", sess.attrs()...)
}

// lost ends a session that the peer or the network ended.
func (s *SFU) lost(sess *session, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.media == nil { // not known yet: whoever sets it up fails by itself
		return
	}
	s.closeSession(sess, reason)
}

// closeSession ends a session: nothing goes in or out of it any more. Its transport is closed in the
// background, because that waits for pion's goroutines. Caller holds mu.
func (s *SFU) closeSession(sess *session, reason string) {
	if sess.closed {
		return
	}
	sess.closed = true
	delete(s.sessions, sess.id)
	close(sess.done)
	sess.media.remember(sess, reason)
	if sess.role == publish {
		s.endPublisher(sess, reason)
	} else {
		s.endViewer(sess, reason)
	}
	s.log.Info("peer gone", append(sess.attrs(), slog.String("reason", reason))...)
	s.sessionsDone.Go(func() { sess.shut(s.socket, reason) })
}

// shut closes the connection and waits for everything that reads from it.
func (sess *session) shut(socket *socket, reason string) {
	sess.unfollow(socket)
	if sess.role == publish {
		sess.down.send(func(b []byte) []byte { return appendBye(b, sess.cname, sess.uplink.ssrc) })
	}
	if sess.parted != nil { // who hears that the connection is over hears nothing any more
		timer := time.NewTimer(farewellWait)
		select {
		case <-sess.parted:
		case <-timer.C:
		}
		timer.Stop()
	}
	_ = sess.link.Close(reason)
	sess.loops.Wait()
}

func (sess *session) attrs() []any {
	attrs := []any{slog.String("media_session", sess.mediaID)}
	if sess.role == play {
		attrs = append(attrs, slog.String("viewer", sess.viewer))
	}
	return attrs
}
