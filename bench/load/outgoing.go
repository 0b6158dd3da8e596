package load

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/securecam/securecam/bench/rtc"
)

const (
	// history is how many packets a camera can send again.
	history = 512
	// headroom is for header, extensions and the tag.
	headroom = 64
	// maxJoined is how many bytes wait at most, and one packet more: the kernel splits up to 64 KiB.
	maxJoined = 60_000
	// noiseSize is more than one payload, so that packets differ.
	noiseSize = 1 << 14
)

// outgoing is one RTP stream of a camera. send belongs to one goroutine.
type outgoing struct {
	transport   *rtc.Transport
	source      *Source
	ssrc        uint32
	payloadType uint8
	height      int // of the picture
	extension   []byte
	seq         uint16
	octets      uint32
	plain       []byte
	noise       []byte
	joins       bool   // packets wait in joined until flush
	joined      []byte // sealed packets of segment bytes, only the last may be shorter
	segment     int

	mu   sync.Mutex // guards sent, which NACKs read
	sent [history][]byte
}

func newOutgoing(t *rtc.Transport, c Codec, id uint32, payloadType uint8) *outgoing {
	o := &outgoing{
		transport: t, source: newSource(id, c), ssrc: rand.Uint32(), payloadType: payloadType, height: plainHeight,
		seq:   uint16(rand.Uint32N(1 << 15)), // RFC 3711, section 3.3.1: far from the first roll-over
		plain: make([]byte, 0, maxPayload+headroom), noise: make([]byte, noiseSize),
	}
	random := rand.NewChaCha8([32]byte{byte(id)})
	_, _ = random.Read(o.noise) // never fails
	return o
}

// send makes and sends one packet of size bytes of payload.
func (o *outgoing) send(timestamp uint32, p place, size int) error {
	b := o.header(timestamp, p.last)
	start := len(b)
	b = b[:start+size]
	p.height = o.height
	n := o.source.codec.prefix(b[start:], p)
	body := b[start+n:]
	copy(body[stampSize:], o.noise[rand.IntN(noiseSize-maxPayload):])
	stamp{source: o.source.id, counter: o.source.sent.Load(), sent: time.Now().UnixNano()}.write(body)
	return o.seal(b)
}

// sendParameters sends the packet before an H.264 keyframe.
func (o *outgoing) sendParameters(timestamp uint32) error {
	s := stamp{source: o.source.id, counter: o.source.sent.Load(), sent: time.Now().UnixNano()}
	return o.seal(append(o.header(timestamp, false), parameterPacket(s)...))
}

// header begins the packet (RFC 3550, section 5.1).
func (o *outgoing) header(timestamp uint32, marker bool) []byte {
	b := append(o.plain[:0], 0x80, o.payloadType)
	if marker {
		b[1] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, o.seq)
	b = binary.BigEndian.AppendUint32(b, timestamp)
	b = binary.BigEndian.AppendUint32(b, o.ssrc)
	if o.extension != nil {
		b[0] |= 0x10
		b = append(b, o.extension...)
	}
	return b
}

func (o *outgoing) seal(plain []byte) error {
	slot := o.seq % history
	o.mu.Lock()
	memory := o.sent[slot]
	o.sent[slot] = nil
	o.mu.Unlock()
	if memory == nil {
		memory = make([]byte, 0, maxPayload+2*headroom)
	}
	// The packet counts as sent before it is: viewers may have it at once.
	o.source.sent.Add(1)
	sealed, err := o.transport.Seal(memory[:0], plain)
	if err == nil {
		o.push(sealed)
	}
	o.seq++
	o.octets += uint32(len(plain))
	o.mu.Lock()
	o.sent[slot] = sealed
	o.mu.Unlock()
	return err
}

// push sends a packet, or has it wait for the rest of its burst.
func (o *outgoing) push(sealed []byte) {
	if !o.joins {
		_ = o.transport.Resend(sealed) // counted; a full socket buffer is a loss, which the viewers see
		return
	}
	if short := len(o.joined)%max(o.segment, 1) != 0; short || len(sealed) > o.segment || len(o.joined) > maxJoined {
		o.flush()
		o.segment = len(sealed)
	}
	o.joined = append(o.joined, sealed...)
}

// flush sends the packets that wait.
func (o *outgoing) flush() {
	if len(o.joined) > 0 {
		_ = o.transport.SendJoined(o.joined, o.segment) // counted, as above
	}
	o.joined, o.segment = o.joined[:0], 0
}

// resend answers a NACK with the very same bytes.
func (o *outgoing) resend(seq uint16) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	sealed := o.sent[seq%history]
	if sealed == nil || binary.BigEndian.Uint16(sealed[2:]) != seq {
		return false
	}
	return o.transport.Resend(sealed) == nil
}

// report sends a sender report that ties timestamp to now.
func (o *outgoing) report(timestamp uint32) error {
	const ntpEpoch = 2208988800 // seconds from 1900 to 1970
	now := time.Now()
	ntp := uint64(now.Unix()+ntpEpoch)<<32 | uint64(now.Nanosecond())<<32/1e9
	return o.transport.SendRTCP(
		&rtcp.SenderReport{
			SSRC: o.ssrc, NTPTime: ntp, RTPTime: timestamp,
			PacketCount: uint32(o.source.sent.Load()), OctetCount: o.octets,
		},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
			Source: o.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "bench"}},
		}}},
	)
}
