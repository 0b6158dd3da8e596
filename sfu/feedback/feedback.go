// Package feedback reads and writes the RTCP packets that a forwarder lives on, in place and without an allocation:
// RFC 3550, section 6; RFC 4585; RFC 5104, section 4.3.1; RFC 5506; draft-alvestrand-rmcat-remb;
// draft-holmer-rmcat-transport-wide-cc-extensions.
package feedback

import (
	"encoding/binary"
	"iter"
)

// Kind says what an Event is about.
type Kind uint8

// The kinds of events, with the fields that each fills besides Sender.
const (
	None            Kind = iota
	PLI                  // a picture is lost, Media's decoder needs a keyframe: RFC 4585, section 6.3.1
	FIR                  // a keyframe of Media is asked for; FIRSeq is the same when it is asked again: RFC 5104, section 4.3.1
	NACK                 // packets of Media are missing: PID, BLP, Lost: RFC 4585, section 6.2.1
	REMB                 // an estimate of what the path carries: Bitrate, Raw
	TransportCC          // arrival times of packets of the whole transport: Media, Raw
	SenderReport         // Info: RFC 3550, section 6.4.1
	ReceptionReport      // Report, of a sender or receiver report: RFC 3550, section 6.4.2
	Bye                  // Sender left: RFC 3550, section 6.6
)

// Event is one thing that an RTCP packet says. Fields that its Kind does not name are zero.
type Event struct {
	Kind   Kind
	Sender uint32 // SSRC that says it
	Media  uint32 // SSRC that it is about

	FIRSeq   uint8
	PID, BLP uint16 // a missing sequence number, and a bit for each of the 16 after it
	Bitrate  uint64 // bits per second
	Info     SenderInfo
	Report   Block
	// Raw is, for TransportCC, the whole packet with its header; for REMB the SSRCs that it is about, 4 bytes each. It is
	// part of the compound packet.
	Raw []byte
}

// SenderInfo is what a sender report says of its sender: RFC 3550, section 6.4.1.
type SenderInfo struct {
	NTP             uint64
	RTP             uint32
	Packets, Octets uint32
}

// Block is a report block: RFC 3550, section 6.4.1.
type Block struct {
	SSRC         uint32 // that it is about
	FractionLost uint8  // of 256
	Lost         int32  // in all; 24 bits, negative when duplicates came
	Highest      uint32 // sequence number, extended by the count of its cycles
	Jitter       uint32 // in units of the RTP clock
	LastSR       uint32 // the middle of the NTP time of the last sender report; 0 if none came
	Delay        uint32 // since then, in 1/65536 s
}

// Lost returns the sequence numbers that a NACK asks for, in their order.
func (e *Event) Lost() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if e.Kind != NACK || !yield(e.PID) {
			return
		}
		for i := range uint16(16) {
			if e.BLP>>i&1 != 0 && !yield(e.PID+1+i) {
				return
			}
		}
	}
}

const (
	// maxPackets bounds the RTCP packets in one compound; a browser sends a handful.
	maxPackets = 64
	// maxEvents bounds what is read of one compound packet: more NACKs than a datagram of 1,500 bytes holds.
	maxEvents = 512
)

// Reader goes through the events of a compound packet. Its zero value has none.
type Reader struct {
	// Event is the one that Next found; it is valid until the next call.
	Event Event

	rest   []byte // packets not begun
	packet []byte // the packet that Next is in, without header and padding
	kind   Kind   // of its remaining events
	left   int    // events that may still come
	bad    int
}

// Read returns a Reader of the RTCP packets in compound, which may also be of reduced size (RFC 5506): it need not begin
// with a report. Nothing is copied, so compound must stay as it is while the Reader is used.
//
// It is not ok if the packets do not fill compound exactly, are of another version, or are more than 64; then there are
// no events. Packets of other types and packets that are malformed inside are passed over, others with them are read;
// at most 512 events come.
func Read(compound []byte) (r Reader, ok bool) {
	rest := compound
	for n := 0; len(rest) > 0; n++ {
		size := packetSize(rest)
		if size == 0 || n == maxPackets {
			return Reader{}, false
		}
		rest = rest[size:]
	}
	return Reader{rest: compound, left: maxEvents}, len(compound) > 0
}

// Malformed returns how many packets Next passed over so far because their contents are not what their type demands.
func (r *Reader) Malformed() int { return r.bad }

const (
	headerSize  = 4
	versionMask = 0xc0
	version2    = 0x80
	paddingFlag = 0x20
	countMask   = 0x1f
)

// packetSize returns the length of the RTCP packet that b begins with, 0 if there is none: RFC 3550, section 6.4.1.
func packetSize(b []byte) int {
	if len(b) < headerSize || b[0]&versionMask != version2 {
		return 0
	}
	if size := headerSize + 4*int(binary.BigEndian.Uint16(b[2:])); size <= len(b) {
		return size
	}
	return 0
}
