package sfu

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pion/interceptor/pkg/twcc"

	"github.com/securecam/securecam/sfu/feedback"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/udp"
)

const (
	// congestionInterval is the time between transport-wide feedback packets, what browsers' estimators are tuned to.
	congestionInterval = 100 * time.Millisecond
	// maxRepair is how far behind the newest packet a repaired one may be.
	maxRepair = 960
	// maxCongestionJump is how far transport-wide numbers may jump at once: every number between costs work.
	maxCongestionJump = 2000
	// reportEvery is the number of those between receiver reports.
	reportEvery = 10
)

// uplink is how a publisher's media comes in, and what its camera is told about it. Its packets are opened in place by
// the socket's readers, which take them as far as the shards' queues.
type uplink struct {
	receiver  *seal.Receiver
	layers    []*layer // one an SSRC, in the order of coming
	congested bool     // the camera numbers packets for transport-wide feedback
	extension uint8    // id of that number's header extension
	recorder  *twcc.Recorder
	ssrc      uint32 // ours
	overdue   []uint16
	hurry     chan<- struct{} // told when something begins to be missing
	heard     int64           // when the last packet came

	lastCongestion uint16 // transport-wide number before

	ntp ntpClock
	way time.Duration // from the camera to here, as ICE measured it
}

// downlink is the way of RTCP, and of what viewers say, to a camera.
type downlink struct {
	mu     sync.Mutex // guards what follows
	egress *egress
	plain  []byte
	sealed []byte
	packet [udp.MaxSegment]byte
}

// send seals a compound packet that build appends to a buffer, and sends it. An error means that the camera is going:
// its session ends by itself.
func (d *downlink) send(build func([]byte) []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.egress == nil {
		return
	}
	d.plain = build(d.plain[:0])
	if len(d.plain) == 0 {
		return
	}
	d.sealed = d.egress.sender.RTCP(d.sealed[:0], d.plain)
	d.transmit(d.sealed)
}

// transmit sends a sealed packet. Caller holds mu.
func (d *downlink) transmit(sealed []byte) {
	if to := d.egress.to.Load(); to != nil {
		_ = d.egress.conn.Send(sealed, to)
		return
	}
	_ = d.egress.slow(sealed)
}

// fromCamera takes one packet of a publisher at now. Caller holds sess.ingress.mu.
func (s *SFU) fromCamera(sess *session, b []byte, now int64) {
	if isRTCP(b) {
		plain, ok := sess.uplink.receiver.RTCP(b)
		if !ok {
			s.reject(sess, sess.uplink.receiver)
			return
		}
		switch ok, abuse := sess.flood.packet(now); {
		case abuse:
			sess.link.Fail(ReasonFlood)
		case ok:
			s.readReports(sess, plain, now)
		default:
			s.flooded.Add(1)
		}
		return
	}
	plain, ok := sess.uplink.receiver.RTP(b)
	if !ok {
		s.reject(sess, sess.uplink.receiver)
		return
	}
	sess.uplink.heard = now
	s.takeRTP(sess, plain, now)
}

// takeRTP takes an opened RTP packet of a camera. Caller holds sess.ingress.mu.
func (s *SFU) takeRTP(sess *session, plain []byte, now int64) {
	sess.noteCongestion(plain, now)
	ssrc := binary.BigEndian.Uint32(plain[8:])
	if l := sess.layerOf(ssrc); l != nil {
		s.fates.note(sess.toLayer(l, plain, now))
		return
	}
	s.fates.note(s.fromStranger(sess, plain, now))
}

// reject counts a packet that the receiver has refused. One whose stream it has no room for any more ends the session:
// the peer begins streams without end, or has to begin anew. Caller holds sess.ingress.mu.
func (s *SFU) reject(sess *session, r *seal.Receiver) {
	if r.Crowded() {
		s.fates.note(unbound)
		sess.link.Fail(ReasonStreamFlood)
		return
	}
	s.socket.rejected.Add(1)
}

// toLayer takes a packet of a layer. One that is not what it says is as if it had not come. Caller holds
// sess.ingress.mu.
func (sess *session) toLayer(l *layer, b []byte, now int64) fate {
	f := malformed
	if l.read(b, now) {
		if l.reception.arrived(l.packet.Seq, l.packet.Timestamp, now) && l.track.spec.kind == video {
			l.keys.request()
		}
		f = l.keep()
	}
	overdue, lost := l.overdue(now, sess.uplink.overdue[:0])
	sess.askAgain(l, overdue, lost)
	if l.lacks() && !sess.lacking.Load() { // written under ingress.mu alone
		sess.lacking.Store(true)
		signal(sess.uplink.hurry)
	}
	return f
}

// fromStranger takes a packet of a stream that is no layer: it begins one, or is a retransmission. Caller holds
// sess.ingress.mu.
func (s *SFU) fromStranger(sess *session, b []byte, now int64) fate {
	if _, ok := payloadOf(b); !ok {
		return malformed
	}
	payloadType, ssrc := b[1]&0x7f, binary.BigEndian.Uint32(b[8:])
	for _, sp := range sess.specs {
		switch {
		case payloadType == sp.payloadType:
			rid, ok := "", true
			if sp.kind == video {
				rid, ok = sess.simulcast.layerName(b, ssrc)
			}
			if !ok {
				break
			}
			if l := s.startLayer(sess, sp.kind, rid, ssrc, now); l != nil {
				return sess.toLayer(l, b, now)
			}
		case payloadType == sp.rtx && sp.rtx != 0:
			return sess.retransmitted(sp, b, now)
		}
	}
	return unbound
}

// isRTCP tells RTCP from RTP: RFC 5761, section 4.
func isRTCP(b []byte) bool { return len(b) > 1 && b[1] >= 192 && b[1] <= 223 }

func (sess *session) layerOf(ssrc uint32) *layer {
	for _, l := range sess.uplink.layers {
		if l.reception.ssrc == ssrc {
			return l
		}
	}
	return nil
}

// retransmitted turns a packet of the retransmission stream into the one that was lost, in place: RFC 4588, section 4.
func (sess *session) retransmitted(sp spec, b []byte, now int64) fate {
	payload, ok := payloadOf(b)
	if !ok || len(payload) == 1 {
		return malformed
	}
	l := sess.repairedLayer(sp, b)
	switch {
	case len(payload) == 0: // padding that only probes the way
		return taken
	case l == nil:
		return unbound
	}
	n, _ := headerLength(b) // payloadOf found it
	original := binary.BigEndian.Uint16(b[n:])
	if ahead := int16(original - uint16(l.reception.newest)); ahead >= 0 || ahead <= -maxRepair {
		return late // nothing that was asked for
	}
	copy(b[rtxHeader:], b[:n])
	b = b[rtxHeader:]
	b[1] = b[1]&0x80 | sp.payloadType
	binary.BigEndian.PutUint16(b[2:], original)
	binary.BigEndian.PutUint32(b[8:], l.reception.ssrc)
	if !l.read(b, now) {
		return malformed
	}
	l.reception.answered(original, now)
	l.keys.measured(l.reception.rtt)
	return l.keep()
}

// repairedLayer returns the layer that a retransmission is of: what it says, or what the camera said of its stream, or
// the newest where there is but one.
func (sess *session) repairedLayer(sp spec, b []byte) *layer {
	several, rid := false, ""
	if sp.kind == video && sess.simulcast.several() {
		if rid, several = sess.simulcast.repaired(b); !several {
			return nil
		}
	}
	for _, l := range slices.Backward(sess.uplink.layers) {
		if l.track.spec.kind == sp.kind && (!several || l.rid == rid) {
			return l
		}
	}
	return nil
}

// makeRoom reports whether another stream may begin. If need be it forgets one that another has taken the place of, and
// that is silent.
func (u *uplink) makeRoom(now int64) bool {
	if len(u.layers) < maxStreams {
		return true
	}
	i := slices.IndexFunc(u.layers, func(l *layer) bool {
		return !l.track.has(l) && now-l.meter.heard > int64(streamSilence)
	})
	if i < 0 {
		return false
	}
	close(u.layers[i].done)
	u.layers = slices.Delete(u.layers, i, i+1)
	return true
}

// headerLength returns the length of the RTP header, CSRCs and extension included: RFC 3550, section 5.1.
func headerLength(b []byte) (int, bool) {
	if len(b) < rtpHeader {
		return 0, false
	}
	n := rtpHeader + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return 0, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	return n, n <= len(b)
}

// lacks reports whether packets are missing that the camera is to be asked for. Caller holds ingress.mu.
func (l *layer) lacks() bool { return l.reception.n > 0 && l.track.spec.kind == video }

// overdue appends to seqs what the camera is to be asked for now, and does as if it were. lost reports that it is to be
// asked for a keyframe, in place of what is given up. Caller holds ingress.mu.
func (l *layer) overdue(now int64, seqs []uint16) (ask []uint16, lost bool) {
	if !l.lacks() {
		return seqs, false
	}
	ask, lost = l.reception.overdue(now, seqs)
	l.reception.asked += uint64(len(ask))
	l.expectLate(now)
	return ask, lost
}

// askAgain sends a NACK for what is overdue, and asks for a keyframe if something was lost for good.
func (sess *session) askAgain(l *layer, overdue []uint16, lost bool) {
	if lost {
		l.keys.request()
	}
	if len(overdue) > 0 {
		sess.down.send(func(b []byte) []byte {
			return feedback.AppendNACK(b, sess.uplink.ssrc, l.reception.ssrc, overdue)
		})
	}
}

// askFor returns what asks a stream's camera for a keyframe: with a PLI, and with an FIR too when nothing comes of it.
func (sess *session) askFor(t *upTrack, ssrc uint32) func(unheard bool) {
	number := uint8(0)
	return func(unheard bool) {
		t.counters.keyframeAsks.Add(1)
		sess.down.send(func(b []byte) []byte {
			b = feedback.AppendPLI(b, sess.uplink.ssrc, ssrc)
			if unheard {
				number++
				b = feedback.AppendFIR(b, sess.uplink.ssrc, ssrc, number)
			}
			return b
		})
	}
}

// noteCongestion records the arrival of a packet with a transport-wide sequence number.
func (sess *session) noteCongestion(b []byte, now int64) {
	if !sess.uplink.congested {
		return
	}
	if v := extension(b, sess.uplink.extension); len(v) == 2 && sess.uplink.plausible(binary.BigEndian.Uint16(v)) {
		sess.uplink.recorder.Record(binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(v), now/int64(time.Microsecond))
	}
}

// plausible reports whether a transport-wide number follows those before. One that does not is believed when the next
// one follows it.
func (u *uplink) plausible(number uint16) bool {
	jump := int16(number - u.lastCongestion)
	near := jump < maxCongestionJump && jump > -maxCongestionJump
	u.lastCongestion = number
	return near
}

// extension returns the value of a header extension in the one-byte or the two-byte form: RFC 8285, sections 4.2 and 4.3.
// It is nil if there is none.
func extension(b []byte, id uint8) []byte {
	const oneByte, twoBytes, reserved = 0xbede, 0x1000, 15
	end, ok := headerLength(b)
	at := rtpHeader + 4*int(b[0]&0x0f)
	if !ok || b[0]&0x10 == 0 || id == 0 {
		return nil
	}
	form := binary.BigEndian.Uint16(b[at:])
	if form != oneByte && form&0xfff0 != twoBytes {
		return nil
	}
	for at += 4; at < end; {
		if b[at] == 0 { // padding
			at++
			continue
		}
		name, size, head := b[at]>>4, int(b[at]&0x0f)+1, 1
		if form != oneByte {
			if at+2 > end {
				return nil
			}
			name, size, head = b[at], int(b[at+1]), 2
		} else if name == reserved {
			return nil
		}
		if at+head+size > end {
			return nil
		}
		if name == id {
			return b[at+head : at+head+size]
		}
		at += head + size
	}
	return nil
}

// readReports takes the sender reports out of a camera's RTCP.
func (s *SFU) readReports(sess *session, plain []byte, now int64) {
	r, ok := feedback.Read(plain)
	if !ok {
		s.noteMalformed(1)
		return
	}
	for r.Next() {
		if r.Event.Kind == feedback.Bye {
			sess.uplink.leave(r.Event.Sender, now)
		}
		if r.Event.Kind != feedback.SenderReport {
			continue
		}
		if l := sess.layerOf(r.Event.Sender); l != nil {
			at := time.Now().Add(-sess.uplink.way) // when it was sent
			info := r.Event.Info
			l.reception.sentReport(info.NTP, now)
			l.report.Store(&senderReport{ntp: sess.uplink.ntp.local(info.NTP, at), rtp: info.RTP, at: at})
		}
	}
	s.noteMalformed(r.Malformed())
}

// inform tells the camera how its packets arrive, for the nth time. Reports of many cameras are spread over the ticks.
func (sess *session) inform(n uint64, now int64) {
	sess.noteCalm(now)
	sess.measure(now)
	sess.checkOver(now)
	sess.sendCongestion()
	if (n+sess.number)%reportEvery == 0 {
		sess.sendReceiverReport(now)
	}
}

// askForLost asks for what is missing when nothing comes that would have it asked for. It says so without the lock, for
// which the camera's packets would wait. seqs is room for maxMissing.
func (sess *session) askForLost(now int64, seqs []uint16) {
	for i := 0; ; i++ {
		sess.ingress.mu.Lock()
		if i >= len(sess.uplink.layers) {
			sess.lacking.Store(slices.ContainsFunc(sess.uplink.layers, (*layer).lacks))
			sess.ingress.mu.Unlock()
			return
		}
		l := sess.uplink.layers[i]
		overdue, lost := l.overdue(now, seqs[:0])
		sess.ingress.mu.Unlock()
		sess.askAgain(l, overdue, lost)
	}
}

// noteCalm has players wait no more for a camera whose way is good again.
func (sess *session) noteCalm(now int64) {
	sess.ingress.mu.Lock()
	defer sess.ingress.mu.Unlock()
	for _, l := range sess.uplink.layers {
		l.late.Store(int64(l.wait.calm(time.Duration(now))))
	}
}

func (sess *session) sendCongestion() {
	sess.ingress.mu.Lock()
	if !sess.uplink.congested || sess.uplink.recorder.PacketsHeld() == 0 {
		sess.ingress.mu.Unlock()
		return
	}
	packets := sess.uplink.recorder.BuildFeedbackPacket()
	sess.ingress.mu.Unlock()
	for _, p := range packets {
		raw, err := p.Marshal()
		if err == nil {
			sess.down.send(func(b []byte) []byte { return append(b, raw...) })
		}
	}
}

func (sess *session) sendReceiverReport(now int64) {
	var blocks []feedback.Block
	sess.ingress.mu.Lock()
	for _, l := range sess.uplink.layers {
		if b, ok := l.reception.block(now); ok {
			l.reported.store(b)
			blocks = append(blocks, b)
		}
	}
	sess.ingress.mu.Unlock()
	if len(blocks) == 0 {
		return
	}
	sess.down.send(func(b []byte) []byte {
		return feedback.AppendCNAME(feedback.AppendReceiverReport(b, sess.uplink.ssrc, blocks), sess.uplink.ssrc, sess.cname)
	})
}

func newUplink(receiver *seal.Receiver, extension uint8) uplink {
	ssrc := rand.Uint32()
	return uplink{
		receiver: receiver, extension: extension, congested: extension != 0,
		recorder: twcc.NewRecorder(ssrc), ssrc: ssrc, overdue: make([]uint16, 0, maxMissing),
	}
}
