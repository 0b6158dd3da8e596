// Package rewrite keeps a viewer's sequence numbers, timestamps and picture ids continuous across packets that are
// left out and across switches from one source to another.
package rewrite

const (
	// maxRuns bounds the memory of packets left out; what came before the oldest run can no longer be mapped.
	maxRuns = 32
	// window is how far behind the newest packet a packet may be and still be mapped: far enough for every ring,
	// near enough that 16-bit arithmetic has no doubt.
	window = 1 << 14
)

// Packet is the part of an RTP packet that a Mapper changes. PictureID and TL0 are those of VP8; other codecs leave
// them zero.
type Packet struct {
	Seq       uint16
	Timestamp uint32
	PictureID uint16
	TL0       uint8
}

// run is a stretch of source sequence numbers with one offset, for them and for their picture ids; the skipped numbers
// just before start were left out.
type run struct {
	start, skipped, delta, picture uint16
}

// Mapper maps one source after another onto one outgoing stream. It needs Switch before anything else. It is not
// safe for concurrent use.
type Mapper struct {
	last     Packet // newest outgoing values
	pictured uint16 // outgoing number of the newest packet of a picture, which last has its ids of
	floorOut uint16 // oldest outgoing number of this source that can be mapped back

	runs   [maxRuns]run // oldest first
	n      int          // runs in use
	floor  uint16       // oldest source number that can be mapped
	newest uint16       // newest source number mapped or left out

	timestampDelta uint32
	tl0Delta       uint8
	leftOut        uint16 // picture id that was left out last, if any was

	switched bool // a source was begun
	mapped   bool // a packet of this source was mapped
	thinned  bool // a picture of this source was left out
}

// New makes a Mapper whose first packet gets these numbers.
func New(seq uint16, timestamp uint32) *Mapper {
	return &Mapper{last: Packet{Seq: seq - 1, Timestamp: timestamp}}
}

// Switch begins a new source with its packet first. The outgoing stream goes on with the next sequence number and
// picture id, elapsed timestamp units (at least one) after its newest packet.
func (m *Mapper) Switch(first Packet, elapsed uint32) {
	switch {
	case !m.switched: // nothing to be continuous with: the source's own picture ids will do
		m.switched, elapsed = true, 0
		m.last.PictureID, m.last.TL0 = first.PictureID-1, first.TL0-1
	case elapsed == 0 || elapsed >= 1<<31: // time never goes backwards
		elapsed = 1
	}
	m.floorOut, m.pictured = m.last.Seq+1, m.last.Seq
	m.runs[0] = run{start: first.Seq, delta: first.Seq - m.floorOut, picture: m.last.PictureID + 1 - first.PictureID}
	m.n = 1
	m.floor, m.newest = first.Seq, first.Seq-1
	m.mapped, m.thinned = false, false
	m.timestampDelta = m.last.Timestamp + elapsed - first.Timestamp
	m.tl0Delta = m.last.TL0 + 1 - first.TL0
}

// Newer reports whether seq comes after everything of the source that was mapped or left out.
func (m *Mapper) Newer(seq uint16) bool { return int16(seq-m.newest) > 0 }

// Map returns the outgoing numbers of a source packet. It reports false for what came before the source began, was
// left out, or is too old.
func (m *Mapper) Map(p Packet) (Packet, bool) {
	out, ok := m.Fill(p)
	if ok && int16(out.Seq-m.pictured) > 0 {
		m.pictured, m.last.PictureID, m.last.TL0 = out.Seq, out.PictureID, out.TL0
	}
	return out, ok
}

// Fill is Map for an empty packet that stands in for one which should have been left out, but whose number was passed
// over: it belongs to no picture.
func (m *Mapper) Fill(p Packet) (Packet, bool) {
	if !m.switched {
		return Packet{}, false
	}
	out := Packet{
		Timestamp: p.Timestamp + m.timestampDelta,
		TL0:       p.TL0 + m.tl0Delta,
	}
	if int16(p.Seq-m.newest) > 0 {
		m.advance(p.Seq)
		r := m.runs[m.n-1]
		out.Seq, out.PictureID = p.Seq-r.delta, p.PictureID+r.picture
		m.keep(out)
		return out, true
	}
	if m.newest-p.Seq > window || int16(p.Seq-m.floor) < 0 {
		return Packet{}, false
	}
	for i := m.n - 1; i >= 0; i-- {
		r := m.runs[i]
		behind := r.start - p.Seq
		if int16(behind) <= 0 {
			out.Seq, out.PictureID = p.Seq-r.delta, p.PictureID+r.picture
			if int16(out.Seq-m.last.Seq) > 0 {
				m.keep(out)
			}
			return out, true
		}
		if behind <= r.skipped {
			return Packet{}, false
		}
	}
	return Packet{}, false
}

// keep remembers the newest outgoing number and time.
func (m *Mapper) keep(out Packet) {
	if !m.mapped || int32(out.Timestamp-m.last.Timestamp) > 0 { // frames may be sent in another order than shown
		m.last.Timestamp = out.Timestamp
	}
	m.last.Seq, m.mapped = out.Seq, true
	if out.Seq-m.floorOut > window {
		m.floorOut = out.Seq - window
	}
	if out.Seq-m.pictured > window { // keep it comparable
		m.pictured = out.Seq - window
	}
}

// Drop leaves a source packet out, so that the packets after it close the gap. With whole, its picture is left out as a
// whole, and the picture ids of later ones close the gap too. It reports false, and does nothing, for a packet that is
// not newer than all others: a number that was passed over stays a gap.
func (m *Mapper) Drop(p Packet, whole bool) bool {
	if !m.switched || int16(p.Seq-m.newest) <= 0 {
		return false
	}
	last := &m.runs[m.n-1]
	picture := last.picture
	if whole && (!m.thinned || m.leftOut != p.PictureID) {
		m.thinned, m.leftOut = true, p.PictureID
		picture--
	}
	if adjacent := p.Seq == last.start && m.newest == p.Seq-1; adjacent {
		m.newest = p.Seq
		last.start++
		last.skipped++
		last.delta++
		last.picture = picture
		return true
	}
	m.advance(p.Seq)
	if out := p.Seq - m.runs[m.n-1].delta; out-m.last.Seq > window { // keep the newest packet comparable
		m.last.Seq = out - window
		m.floorOut = m.last.Seq
	}
	if m.n == maxRuns {
		m.forget()
		m.floor = m.runs[0].start
	}
	m.runs[m.n] = run{start: p.Seq + 1, skipped: 1, delta: m.runs[m.n-1].delta + 1, picture: picture}
	m.n++
	return true
}

// Source returns the source number behind an outgoing one of the current source, the inverse of Map.
func (m *Mapper) Source(out uint16) (uint16, bool) {
	if !m.mapped || int16(out-m.last.Seq) > 0 || int16(out-m.floorOut) < 0 {
		return 0, false
	}
	for i := m.n - 1; i >= 0; i-- {
		if seq := out + m.runs[i].delta; int16(seq-m.runs[i].start) >= 0 {
			return seq, true
		}
	}
	return 0, false
}

// Newest returns the source timestamp of the newest packet that was mapped.
func (m *Mapper) Newest() uint32 { return m.last.Timestamp - m.timestampDelta }

// Timestamp returns the outgoing timestamp of a source timestamp, for sender reports.
func (m *Mapper) Timestamp(source uint32) uint32 {
	return source + m.timestampDelta
}

// advance makes seq the newest source number and forgets what lies too far behind it.
func (m *Mapper) advance(seq uint16) {
	m.newest = seq
	if seq-m.floor <= window {
		return
	}
	m.floor = seq - window
	for m.n > 1 && int16(m.runs[1].start-m.floor) <= 0 {
		m.forget()
	}
	if int16(m.floor-m.runs[0].start) > 0 {
		m.runs[0].start, m.runs[0].skipped = m.floor, 0
	}
}

// forget drops the oldest run.
func (m *Mapper) forget() {
	m.n--
	copy(m.runs[:m.n], m.runs[1:m.n+1])
}
