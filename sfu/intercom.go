package sfu

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/securecam/securecam/sfu/rewrite"
	"github.com/securecam/securecam/sfu/transport"
)

const (
	// talkPause is how long a talker may be silent before another one may talk.
	talkPause = 500 * time.Millisecond
	// silentPayload is the length up to which an Opus packet says nothing (RFC 6716, section 3.1; RFC 7587, section
	// 3.1.3): it does not make a talker.
	silentPayload = 3
	// maxTalkRate is how many packets a second a talker may send: 2.5 ms each, Opus' shortest.
	maxTalkRate = 400
)

// intercom carries what viewers say to the camera of a media session, one talker at a time: whoever begins while nobody
// talks.
type intercom struct {
	counters *counters

	mu     sync.Mutex // guards what follows; downlink.mu may be taken under it
	camera *speaker   // nil while there is none that listens
	talker *session   // nil when nobody talks
	ssrc   uint32     // of the talker
	heard  int64      // when the talker last said something; nanoseconds on the clock of packet arrivals
	second int64      // when the count of packets began
	count  int
}

// speaker is the audio stream towards a camera.
type speaker struct {
	sess        *session
	ssrc        uint32
	payloadType uint8
	clockRate   uint32
	mapper      *rewrite.Mapper
	indexes     rollover
	last        int64 // when a packet was sent
}

// listen answers a camera's audio section so that the camera also hears, if it wants to.
func (sess *session) listen(sp spec, s *transport.Section) {
	s.Both = true
	s.SSRC, s.CNAME, s.Stream, s.Track = 1+rand.Uint32N(math.MaxUint32-1), sess.cname, sess.cname, "talkback"
	sess.speaker = &speaker{
		sess: sess, ssrc: s.SSRC, payloadType: sp.payloadType, clockRate: sp.clockRate,
		mapper: rewrite.New(uint16(rand.Uint32()>>17), rand.Uint32()),
	}
}

// connect has the camera hear from now on; nil means that it does not.
func (i *intercom) connect(s *speaker) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.camera, i.talker = s, nil
}

// disconnect undoes connect and forgets a talker.
func (i *intercom) disconnect(sess *session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.camera != nil && i.camera.sess == sess {
		i.camera = nil
	}
	if i.talker == sess {
		i.talker = nil
	}
}

// listens reports whether there is a camera that hears.
func (i *intercom) listens() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.camera != nil
}

// talking returns the session that talks at now, or nil.
func (i *intercom) talking(now int64) *session {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now-i.heard > int64(talkPause) {
		return nil
	}
	return i.talker
}

// say passes a viewer's RTP packet on, or drops it.
func (i *intercom) say(sess *session, b []byte, now int64) fate {
	payload, ok := payloadOf(b)
	switch {
	case !ok:
		return malformed
	case len(payload) == 0:
		return taken
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	begins, ok := i.floor(sess, binary.BigEndian.Uint32(b[8:]), len(payload), now)
	if !ok {
		i.counters.talkRefused.Add(1)
		return taken
	}
	if !i.camera.send(b, payload, begins, now) {
		return late
	}
	i.counters.talkPackets.Add(1)
	return taken
}

// floor decides whether a packet of sess may go on, and whether it begins to talk with it. Caller holds mu.
func (i *intercom) floor(sess *session, ssrc uint32, size int, now int64) (begins, ok bool) {
	free := i.talker == nil || now-i.heard > int64(talkPause)
	silent := size <= silentPayload
	switch {
	case i.camera == nil, i.talker != sess && (!free || silent):
		return false, false
	case i.talker != sess || i.ssrc != ssrc:
		i.talker, i.ssrc, begins = sess, ssrc, true
	}
	if now-i.second > int64(time.Second) {
		i.second, i.count = now, 0
	}
	if i.count++; i.count > maxTalkRate {
		return false, false
	}
	if !silent {
		i.heard = now
	}
	return begins, true
}

// send writes one packet of the stream that the camera knows, whoever talks. Caller holds intercom.mu.
func (s *speaker) send(b, payload []byte, begins bool, now int64) bool {
	in := rewrite.Packet{Seq: binary.BigEndian.Uint16(b[2:]), Timestamp: binary.BigEndian.Uint32(b[4:])}
	if begins {
		s.mapper.Switch(in, uint32(ticks(time.Duration(now-s.last), s.clockRate)))
	}
	out, ok := s.mapper.Map(in)
	if !ok {
		return false
	}
	index, fresh := s.indexes.use(out.Seq)
	if !fresh {
		return false
	}
	s.last = now
	var header [rtpHeader]byte
	header[0], header[1] = 2<<6, s.payloadType
	if begins { // of a talkspurt: RFC 3551, section 4.1
		header[1] |= 1 << 7
	}
	binary.BigEndian.PutUint16(header[2:], out.Seq)
	binary.BigEndian.PutUint32(header[4:], out.Timestamp)
	binary.BigEndian.PutUint32(header[8:], s.ssrc)
	s.sess.down.sendRTP(header[:], payload, index)
	return true
}

// payloadOf returns an RTP packet's payload without padding.
func payloadOf(b []byte) ([]byte, bool) {
	n, ok := headerLength(b)
	if !ok {
		return nil, false
	}
	payload := b[n:]
	if b[0]&0x20 == 0 {
		return payload, true
	}
	if len(payload) == 0 {
		return nil, false // not even the count
	}
	pad := int(payload[len(payload)-1])
	if pad == 0 || pad > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-pad], true
}

// sendRTP seals a packet and sends it. An error means that the camera is going: its session ends by itself.
func (d *downlink) sendRTP(header, payload []byte, index uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.egress == nil {
		return
	}
	n := len(header) + len(payload) + d.egress.sender.Overhead()
	if n > len(d.packet) || d.egress.sender.RTP(d.packet[:n], header, payload, index) != n {
		return
	}
	d.transmit(d.packet[:n])
}
