package codec

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
)

// NAL unit types of ITU-T H.264, table 7-1, and RFC 6184, table 1.
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalAUD   = 9
	nalSTAPA = 24
	nalSTAPB = 25
	nalFUA   = 28
	nalFUB   = 29
	nalMask  = 0x1f
)

// inspectH264 reads the NAL unit headers of a packet (RFC 6184, section 5). Decoding can begin with a sequence
// parameter set, or with an IDR slice when the camera sent its parameter sets before.
func inspectH264(b []byte) Info {
	var info Info
	switch t := b[0] & nalMask; t {
	case nalSTAPA, nalSTAPB:
		for nal := range nalUnits(b) {
			info.note(nal[0] & nalMask)
		}
	case nalFUA, nalFUB:
		const start = 0x80
		if len(b) > 1 && b[1]&start != 0 {
			info.note(b[1] & nalMask)
		}
	default:
		info.note(t)
	}
	return info
}

func (i *Info) note(nalType byte) {
	switch nalType {
	case nalSPS:
		i.Start, i.Keyframe, i.Parameters = true, true, true
	case nalIDR:
		i.Keyframe = true
	case nalAUD:
		i.Start = true
	}
}

// nalUnits returns the NAL units of a packet that has whole ones, or the one that begins in it, each with its header
// byte. Of one that is cut into fragments that is what the first of them has, headed by the fragment's own header byte,
// whose type is that of the unit.
func nalUnits(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if len(b) == 0 {
			return
		}
		at := 1
		switch b[0] & nalMask {
		case nalSTAPB:
			at += 2 // decoding order number
		case nalSTAPA:
		case nalFUA, nalFUB:
			const start = 0x80
			if len(b) > 1 && b[1]&start != 0 {
				yield(b[1:])
			}
			return
		default:
			yield(b)
			return
		}
		for at+2 < len(b) {
			size := int(binary.BigEndian.Uint16(b[at:]))
			at += 2
			if size == 0 || at+size > len(b) || !yield(b[at:at+size]) {
				return
			}
			at += size
		}
	}
}

// Profile is what an H.264 stream says of who can decode it: ITU-T H.264, section 7.4.2.1.1. The zero value means that
// nothing is known.
type Profile struct{ IDC, Constraints, Level uint8 }

// ReadProfile reads the sequence parameter set of a packet that has one. It reports false for others.
func ReadProfile(payload []byte) (Profile, bool) {
	for nal := range nalUnits(payload) {
		if nal[0]&nalMask == nalSPS && len(nal) >= 4 {
			return Profile{nal[1], nal[2], nal[3]}, true
		}
	}
	return Profile{}, false
}

// ProfileOf reads a profile-level-id: RFC 6184, section 8.1. What is none is the zero value.
func ProfileOf(id string) Profile {
	v, err := strconv.ParseUint(id, 16, 24)
	if err != nil {
		return Profile{}
	}
	return Profile{uint8(v >> 16), uint8(v >> 8), uint8(v)}
}

// Profiles that are told apart, by profile_idc: ITU-T H.264, annex A.2.
const (
	idcBaseline = 66
	idcMain     = 77
	idcExtended = 88
	idcHigh     = 100
	idcHigh10   = 110
	idcHigh422  = 122
	idcHigh444  = 244
)

const (
	constrained = 0x40 // constraint_set1_flag
	level1b     = 0x10 // constraint_set3_flag
)

// Name is the profile in words, "" if it is not known.
func (p Profile) Name() string {
	switch p.IDC {
	case 0:
		return ""
	case idcBaseline:
		if p.Constraints&constrained != 0 {
			return "Constrained Baseline"
		}
		return "Baseline"
	case idcMain:
		return "Main"
	case idcExtended:
		return "Extended"
	case idcHigh:
		return "High"
	case idcHigh10:
		return "High 10"
	case idcHigh422:
		return "High 4:2:2"
	case idcHigh444:
		return "High 4:4:4"
	}
	return fmt.Sprintf("profile %d", p.IDC)
}

// LevelName is the level as it is written, "" if it is not known.
func (p Profile) LevelName() string {
	switch {
	case p.IDC == 0:
		return ""
	case p.Level == 11 && p.Constraints&level1b != 0 && p.IDC <= idcExtended:
		return "1b"
	}
	return fmt.Sprintf("%d.%d", p.Level/10, p.Level%10)
}

// Rank orders the profiles that contain each other: whoever decodes a greater one decodes the smaller. 0 is a profile of
// another family. RFC 6184, section 8.1, tables 5 and 6.
func (p Profile) Rank() int {
	const (
		other = iota
		baseline
		mainProfile
		constrainedHigh
		high
	)
	switch {
	case p.IDC == idcBaseline, p.IDC == idcMain && p.Constraints&0x80 != 0, p.IDC == idcExtended && p.Constraints&0xc0 == 0xc0:
		return baseline
	case p.IDC == idcMain:
		return mainProfile
	case p.IDC == idcHigh && p.Constraints&0x0c == 0x0c:
		return constrainedHigh
	case p.IDC == idcHigh:
		return high
	}
	return other
}

// Within reports whether whoever decodes q decodes p.
func (p Profile) Within(q Profile) bool {
	return p.IDC == q.IDC || p.Rank() != 0 && p.Rank() <= q.Rank()
}

// Bidirectional reads the type of the slices that begin in a packet (ITU-T H.264, section 7.3.3): whether one of them is
// a B slice, which has a picture refer to a later one. known is false for a packet in which no slice begins that could be.
func Bidirectional(payload []byte) (b, known bool) {
	const head = 12 // holds two numbers, however long
	for nal := range nalUnits(payload) {
		if nal[0]&nalMask != nalSlice {
			continue
		}
		var buf [head]byte
		r := &bits{b: unescape(buf[:0], nal[1:min(len(nal), head)])}
		r.ue() // first_mb_in_slice
		kind := r.ue()
		if r.short || kind > 9 {
			continue
		}
		b, known = b || kind%5 == 1, true
	}
	return b, known
}
