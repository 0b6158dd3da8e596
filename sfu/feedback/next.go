package feedback

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Packet types (RFC 3550, section 12.1; RFC 4585, section 6.1) and feedback message types (RFC 4585, sections 6.2 and
// 6.3; RFC 5104, section 4.3; REMB and transport-wide congestion control as everybody uses them).
const (
	typeSR    = 200
	typeRR    = 201
	typeSDES  = 202
	typeBye   = 203
	typeRTPFB = 205
	typePSFB  = 206

	formatNACK        = 1
	formatTransportCC = 15
	formatPLI         = 1
	formatFIR         = 4
	formatALFB        = 15
)

const (
	ssrcSize       = 4
	senderInfoSize = 20
	blockSize      = 24
	feedbackSize   = 8 // the two SSRCs
	nackSize       = 4
	firSize        = 8
	rembSize       = 8 // unique identifier, count, bitrate
	transportSize  = 8 // base sequence number, count, reference time, count of feedback packets
)

// Next moves to the next event and reports whether there is one.
func (r *Reader) Next() bool {
	for r.left > 0 {
		if len(r.packet) > 0 {
			r.next()
			r.left--
			return true
		}
		size := packetSize(r.rest)
		if size == 0 {
			break
		}
		packet := r.rest[:size]
		r.rest = r.rest[size:]
		r.Event = Event{}
		if !r.begin(packet) {
			r.bad++
			r.packet = nil
			continue
		}
		if r.Event.Kind != None {
			r.left--
			return true
		}
	}
	r.Event = Event{}
	return false
}

// begin reads the head of a packet. If that is an event already, it is in r.Event; r.packet is left with the list of
// further events of r.kind. It reports whether the packet is well-formed.
func (r *Reader) begin(packet []byte) bool {
	count, body := int(packet[0]&countMask), packet[headerSize:]
	if packet[0]&paddingFlag != 0 {
		// RFC 3550, section 6.4.1: the last octet counts the padding, itself included, a multiple of four; but
		// transport-wide feedback is padded to whole words, by everybody.
		pad := int(packet[len(packet)-1])
		words := pad%4 == 0 || packet[1] == typeRTPFB && count == formatTransportCC
		if pad == 0 || !words || pad > len(body) {
			return false
		}
		body = body[:len(body)-pad]
	}
	switch packet[1] {
	case typeSR, typeRR:
		return r.beginReport(packet[1] == typeSR, count, body)
	case typeBye:
		if len(body) < count*ssrcSize {
			return false
		}
		r.kind, r.packet = Bye, body[:count*ssrcSize]
		return true
	case typeRTPFB, typePSFB:
		if len(body) < feedbackSize {
			return false
		}
		r.Event.Sender = binary.BigEndian.Uint32(body)
		r.Event.Media = binary.BigEndian.Uint32(body[4:])
		if packet[1] == typePSFB {
			return r.beginPayload(count, body[feedbackSize:])
		}
		return r.beginTransport(count, body[feedbackSize:], packet)
	default:
		return true
	}
}

// beginReport reads the sender's part of a report: RFC 3550, sections 6.4.1 and 6.4.2. Profile-specific extensions
// behind the report blocks are passed over.
func (r *Reader) beginReport(sender bool, count int, body []byte) bool {
	head := ssrcSize
	if sender {
		head += senderInfoSize
	}
	if len(body) < head+count*blockSize {
		return false
	}
	r.Event.Sender = binary.BigEndian.Uint32(body)
	if sender {
		r.Event.Kind = SenderReport
		r.Event.Info = SenderInfo{
			NTP:     binary.BigEndian.Uint64(body[4:]),
			RTP:     binary.BigEndian.Uint32(body[12:]),
			Packets: binary.BigEndian.Uint32(body[16:]),
			Octets:  binary.BigEndian.Uint32(body[20:]),
		}
	}
	r.kind, r.packet = ReceptionReport, body[head:head+count*blockSize]
	return true
}

// beginTransport reads transport layer feedback: RFC 4585, section 6.2.
func (r *Reader) beginTransport(format int, fci, packet []byte) bool {
	switch format {
	case formatNACK:
		r.kind, r.packet = NACK, fci
		return len(fci) > 0 // body and padding are whole words
	case formatTransportCC:
		r.Event.Kind, r.Event.Raw = TransportCC, packet
		return len(fci) >= transportSize
	default:
		return true
	}
}

// beginPayload reads payload-specific feedback: RFC 4585, section 6.3, and RFC 5104, section 4.3.1.
func (r *Reader) beginPayload(format int, fci []byte) bool {
	switch format {
	case formatPLI:
		r.Event.Kind = PLI
		return len(fci) == 0
	case formatFIR:
		r.kind, r.packet = FIR, fci
		return len(fci) > 0 && len(fci)%firSize == 0
	case formatALFB:
		return r.beginREMB(fci)
	default:
		return true
	}
}

// beginREMB reads an estimate; other application layer feedback is passed over: draft-alvestrand-rmcat-remb-03,
// section 2.2.
func (r *Reader) beginREMB(fci []byte) bool {
	if len(fci) < ssrcSize || string(fci[:4]) != "REMB" {
		return true
	}
	if len(fci) < rembSize {
		return false
	}
	if len(fci) != rembSize+int(fci[4])*ssrcSize {
		return false
	}
	exponent := int(fci[5] >> 2)
	mantissa := uint64(fci[5]&3)<<16 | uint64(binary.BigEndian.Uint16(fci[6:]))
	r.Event.Kind, r.Event.Media, r.Event.Raw = REMB, 0, fci[rembSize:]
	if r.Event.Bitrate = mantissa << exponent; bits.Len64(mantissa)+exponent > 64 {
		r.Event.Bitrate = math.MaxUint64
	}
	return true
}

// next reads one event off the list in r.packet.
func (r *Reader) next() {
	b := r.packet
	e := &r.Event
	e.Kind = r.kind
	switch r.kind {
	case None, PLI, REMB, TransportCC, SenderReport: // never a list
	case NACK:
		e.PID, e.BLP = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		r.packet = b[nackSize:]
	case FIR:
		e.Media, e.FIRSeq = binary.BigEndian.Uint32(b), b[4]
		r.packet = b[firSize:]
	case Bye:
		e.Sender = binary.BigEndian.Uint32(b)
		r.packet = b[ssrcSize:]
	case ReceptionReport:
		e.Info = SenderInfo{}
		e.Report = block(b)
		r.packet = b[blockSize:]
	}
}

func block(b []byte) Block {
	lost := binary.BigEndian.Uint32(b[4:])
	return Block{
		SSRC:         binary.BigEndian.Uint32(b),
		FractionLost: uint8(lost >> 24),
		Lost:         int32(lost<<8) >> 8,
		Highest:      binary.BigEndian.Uint32(b[8:]),
		Jitter:       binary.BigEndian.Uint32(b[12:]),
		LastSR:       binary.BigEndian.Uint32(b[16:]),
		Delay:        binary.BigEndian.Uint32(b[20:]),
	}
}
