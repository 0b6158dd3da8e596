package sfu

import (
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/sdp/v3"

	"github.com/securecam/securecam/sfu/feedback"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/transport"
)

// maxRoutes bounds the addresses that one viewer's RTCP is taken from at once.
const maxRoutes = 4

// ingress is the way in of a session's packets: from one of the socket's readers, or through ICE from an address that is not
// known yet.
type ingress struct {
	mu     sync.Mutex // guards routes, closed and what the session says; SFU.mu may be taken under it
	routes []netip.AddrPort
	closed bool
}

// secure sets a session's keys up and routes its media.
func (s *SFU) secure(sess *session, keys transport.Session) error {
	sender, err := seal.NewSender(seal.Profile(keys.Profile), seal.Keys(keys.Local))
	if err != nil {
		return err
	}
	receiver, err := seal.NewReceiver(seal.Profile(keys.Profile), seal.Keys(keys.Remote))
	if err != nil {
		return err
	}
	out := &egress{conn: s.socket.conns[0], sender: sender, slow: sess.link.Write}
	s.mu.Lock()
	sess.profile = profileName(seal.Profile(keys.Profile))
	s.mu.Unlock()
	rtt := sess.link.RTT()
	out.way.begin(time.Now(), rtt)
	sess.costly = seal.Profile(keys.Profile) == seal.AES128CMSHA1
	sess.ingress.mu.Lock()
	sess.receiver, sess.egress = receiver, out
	if sess.role == publish {
		sess.uplink = newUplink(receiver, sess.congestionExtension())
		sess.uplink.heard, sess.uplink.way = s.clock(), min(rtt, mostRTT)/2
		sess.uplink.hurry = s.informer.hurry
	}
	sess.ingress.mu.Unlock()
	if sess.role == publish {
		sess.down.mu.Lock()
		sess.down.egress = out
		sess.down.mu.Unlock()
	}
	peer := &peer{sfu: s, session: sess}
	sess.link.OnMedia(func(b []byte) { peer.receive(b, s.clock()) })
	sess.link.OnRemoteAddr(func(netip.AddrPort) { peer.follow() })
	peer.follow()
	return nil
}

// profileName is what RFC 5764 and RFC 7714 call an SRTP protection profile.
func profileName(p seal.Profile) string {
	switch p {
	case seal.GCM128:
		return "AEAD_AES_128_GCM"
	case seal.GCM256:
		return "AEAD_AES_256_GCM"
	case seal.AES128CMSHA1:
		return "AES128_CM_HMAC_SHA1_80"
	}
	return "" // there is no other
}

// peer is a connected session on the socket.
type peer struct {
	sfu     *SFU
	session *session
	mu      sync.Mutex // held while a viewer's packet is taken: another may come by ICE, or on another address, meanwhile
}

// receive implements mediaPeer.
func (p *peer) receive(b []byte, now int64) {
	if p.session.role == play {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sfu.fromViewer(p.session, b, now)
		return
	}
	p.session.ingress.mu.Lock()
	defer p.session.ingress.mu.Unlock()
	if !p.session.ingress.closed {
		p.sfu.fromCamera(p.session, b, now)
	}
}

// follow sends to the peer's address, and takes its packets from there: also from those it had before, for a while.
func (p *peer) follow() {
	sess, socket := p.session, p.sfu.socket
	sess.ingress.mu.Lock()
	defer sess.ingress.mu.Unlock()
	at := sess.link.RemoteAddr() // the newest, whoever calls first
	sess.egress.aim(at)
	in := &sess.ingress
	if in.closed || !at.IsValid() {
		return
	}
	// Another peer may have had the address meanwhile: it is taken again.
	in.routes = slices.DeleteFunc(in.routes, func(o netip.AddrPort) bool { return o == at })
	if len(in.routes) == maxRoutes {
		socket.unroute(in.routes[0], sess)
		in.routes = in.routes[1:]
	}
	in.routes = append(in.routes, at)
	socket.route(at, p)
}

// unfollow takes nothing from the peer any more.
func (sess *session) unfollow(socket *socket) {
	sess.ingress.mu.Lock()
	defer sess.ingress.mu.Unlock()
	sess.ingress.closed = true
	for _, at := range sess.ingress.routes {
		socket.unroute(at, sess)
	}
}

// fromViewer takes one packet of a viewer.
func (s *SFU) fromViewer(sess *session, b []byte, now int64) {
	sh := sess.shard.Load()
	if sh == nil {
		s.socket.drops.Early.Add(1)
		return
	}
	if !isRTCP(b) {
		s.fromMicrophone(sess, b, now)
		return
	}
	sess.ingress.mu.Lock()
	plain, ok := sess.receiver.RTCP(b)
	bearable, abuse := true, false
	if ok {
		bearable, abuse = sess.flood.packet(now)
	} else {
		s.reject(sess, sess.receiver)
	}
	sess.ingress.mu.Unlock()
	if !ok {
		return
	}
	sess.link.Confirm()
	switch {
	case abuse:
		sess.link.Fail(ReasonFlood)
	case !bearable:
		s.flooded.Add(1)
	default:
		s.answerViewer(sess, sh, plain, now)
	}
}

// noteMalformed counts what was passed over, which is nothing almost always.
func (s *SFU) noteMalformed(n int) {
	if n > 0 {
		s.fates[malformed].Add(uint64(n))
	}
}

// answerViewer does what the RTCP of a viewer asks for.
func (s *SFU) answerViewer(sess *session, sh *shard, plain []byte, now int64) {
	r, ok := feedback.Read(plain)
	if !ok {
		s.noteMalformed(1)
		return
	}
	asked, pleas := 0, 0
	for r.Next() {
		switch e := &r.Event; e.Kind { //nolint:exhaustive // nothing else is answered
		case feedback.PLI, feedback.FIR:
			pleas++
			if d := sess.downOf(e.Media); d != nil {
				d.wantsKeyframe(sh)
			}
		case feedback.NACK:
			asked += 1 + bits.OnesCount16(e.BLP)
			sess.ask(sh, missing{down: sess.downOf(e.Media), pid: e.PID, blp: e.BLP, at: time.Duration(now)})
		case feedback.ReceptionReport:
			sess.egress.way.heard(e.Report, time.Now())
			sess.noteReport(e.Report)
			sess.hearOfWay(e, now)
		case feedback.TransportCC, feedback.REMB:
			sess.hearOfWay(e, now)
		case feedback.Bye:
			sess.link.Fail(ReasonBye)
		}
	}
	s.noteMalformed(r.Malformed())
	if asked > 0 || pleas > 0 {
		sess.ingress.mu.Lock()
		sess.flood.ask(asked, pleas)
		sess.ingress.mu.Unlock()
	}
}

// ask has the shard answer a NACK.
func (sess *session) ask(sh *shard, m missing) {
	switch {
	case m.down == nil:
		sess.media.counters.nacksUnsent.Add(uint64(1 + bits.OnesCount16(m.blp)))
	case !sh.ask(m):
		m.down.track.counters.dropped.Add(1)
	}
}

// fromMicrophone takes a packet of a viewer that talks.
func (s *SFU) fromMicrophone(sess *session, b []byte, now int64) {
	if sess.intercom == nil { // only RTCP was agreed on
		s.fates.note(unbound)
		return
	}
	sess.ingress.mu.Lock()
	plain, ok := sess.receiver.RTP(b)
	if !ok {
		s.reject(sess, sess.receiver)
	}
	sess.ingress.mu.Unlock()
	switch {
	case !ok:
	case plain[1]&0x7f != sess.talk:
		s.fates.note(unbound)
	default:
		s.fates.note(sess.intercom.say(sess, plain, now))
	}
}

// hearOfWay passes on what a viewer says of the way to it. Of its reports those about video count.
func (sess *session) hearOfWay(e *feedback.Event, now int64) {
	c := sess.egress.congestion.Load()
	if c == nil {
		return
	}
	if e.Kind == feedback.ReceptionReport {
		if d := sess.downOf(e.Report.SSRC); d == nil || d.track.spec.kind != video {
			return
		}
	}
	c.mail.put(e, now)
}

// noteReport keeps what a viewer says of a stream.
func (sess *session) noteReport(b feedback.Block) {
	for _, t := range sess.tracks {
		if t.st.ssrc == b.SSRC {
			t.reported.store(b)
		}
	}
}

// downOf returns the down track with this SSRC.
func (sess *session) downOf(ssrc uint32) *downTrack {
	for _, t := range sess.tracks {
		if t.st.ssrc == ssrc {
			return t.down
		}
	}
	return nil
}

// congestionExtension returns the id of the header extension that both sides agreed on, 0 if on none.
func (sess *session) congestionExtension() uint8 {
	for _, sec := range sess.sections {
		if id := extensionID(sec.Extensions, sdp.TransportCCURI); id != 0 {
			return id
		}
	}
	return 0
}
