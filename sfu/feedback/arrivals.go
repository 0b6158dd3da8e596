package feedback

import "encoding/binary"

const (
	// maxStatuses bounds the packets that one feedback is about. Eight chunks of two bytes could name 65,535; a viewer
	// that reports every 100 ms has some hundred to name.
	maxStatuses = 4096

	chunkSize = 2
	// Status symbols: draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1.1.
	notReceived, smallDelta, largeDelta = 0, 1, 2
)

// Arrivals goes through the packets that a TransportCC event is about, in the order of their numbers:
// draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1. Its zero value has none.
type Arrivals struct {
	// Seq is the transport-wide number of the packet that Next found, and Received whether it arrived.
	Seq      uint16
	Received bool
	// At is when it arrived, in quarters of a millisecond on the receiver's clock, which wraps.
	At uint32

	chunks []byte // not begun
	deltas []byte
	left   int    // packets to come
	chunk  uint16 // the symbols of the current chunk that are left, the next one highest
	run    int    // how many
	width  uint8  // bits of a symbol; 0 in a run of one symbol
}

// ReadArrivals reads the Raw of a TransportCC event. Nothing is copied, so it must stay as it is while Arrivals is used.
// It is not ok if the packet does not hold what it announces, or is about more than 4,096 packets.
func ReadArrivals(raw []byte) (a Arrivals, ok bool) {
	const head = headerSize + feedbackSize + transportSize
	if len(raw) < head || raw[1] != typeRTPFB || raw[0]&countMask != formatTransportCC {
		return Arrivals{}, false
	}
	if raw[0]&paddingFlag != 0 {
		pad := int(raw[len(raw)-1])
		if pad == 0 || pad > len(raw)-head {
			return Arrivals{}, false
		}
		raw = raw[:len(raw)-pad]
	}
	body := raw[headerSize+feedbackSize:]
	a.Seq = binary.BigEndian.Uint16(body) - 1
	a.left = int(binary.BigEndian.Uint16(body[2:]))
	a.At = binary.BigEndian.Uint32(body[4:]) &^ 0xff // 24 bits in units of 64 ms, 256 quarters each
	a.chunks = body[transportSize:]
	if a.left == 0 || a.left > maxStatuses || !a.split() {
		return Arrivals{}, false
	}
	return a, true
}

// Statuses returns how many packets the Raw of a TransportCC event says that it is about.
func Statuses(raw []byte) int {
	const at = headerSize + feedbackSize + 2
	if len(raw) < at+2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(raw[at:]))
}

// split finds out where the chunks end and the deltas begin, and whether all are there.
func (a *Arrivals) split() bool {
	look := *a
	need := 0
	for look.left > 0 {
		if look.run == 0 && !look.begin() {
			return false
		}
		look.left--
		switch look.symbol() {
		case notReceived:
		case smallDelta:
			need++
		case largeDelta:
			need += 2
		default:
			return false
		}
	}
	a.deltas = look.chunks
	a.chunks = a.chunks[:len(a.chunks)-len(look.chunks)]
	return len(a.deltas) >= need
}

// begin reads the next chunk.
func (a *Arrivals) begin() bool {
	if len(a.chunks) < chunkSize {
		return false
	}
	c := binary.BigEndian.Uint16(a.chunks)
	a.chunks = a.chunks[chunkSize:]
	switch {
	case c>>15 == 0: // a run of one symbol
		a.width, a.run, a.chunk = 0, int(c&0x1fff), c>>13&3
	case c>>14&1 == 0: // 14 symbols of one bit
		a.width, a.run, a.chunk = 1, 14, c<<2
	default: // 7 symbols of two bits
		a.width, a.run, a.chunk = 2, 7, c<<2
	}
	return a.run > 0
}

// symbol takes the next symbol of a chunk that has one.
func (a *Arrivals) symbol() uint16 {
	a.run--
	switch a.width {
	case 0:
		return a.chunk
	case 1:
		s := a.chunk >> 15
		a.chunk <<= 1
		return s
	default:
		s := a.chunk >> 14
		a.chunk <<= 2
		return s
	}
}

// Next moves to the next packet and reports whether there is one.
func (a *Arrivals) Next() bool {
	if a.left == 0 || a.run == 0 && !a.begin() {
		return false
	}
	a.left--
	a.Seq++
	switch a.symbol() {
	case smallDelta:
		a.Received = true
		a.At += uint32(a.deltas[0])
		a.deltas = a.deltas[1:]
	case largeDelta:
		a.Received = true
		a.At += uint32(int32(int16(binary.BigEndian.Uint16(a.deltas))))
		a.deltas = a.deltas[2:]
	default:
		a.Received = false
	}
	return true
}
