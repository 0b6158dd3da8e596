package sfu

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/transport"
)

const (
	uriMID         = sdp.SDESMidURI
	uriRID         = sdp.SDESRTPStreamIDURI
	uriRepairedRID = sdp.SDESRepairRTPStreamIDURI
	uriDescriptor  = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

	// maxSources bounds the SSRCs that an offer may name of a section: media and retransmissions of every layer.
	maxSources = 2 * maxEncodings
)

// simulcast is how a camera says which layer a packet belongs to: by a name in its header (RFC 8852), or by SSRCs that
// it named in its offer (RFC 5576). Its zero value is of a camera that sends one layer.
type simulcast struct {
	rids                   []string // in the camera's order, which says nothing of quality
	ridAt, repairedAt      uint8    // header extensions, 0 if there are none
	descriptorAt           uint8    // that of the dependency descriptor
	sources                []streamName
	repairs                []streamName // retransmissions
	learned                [maxSources]streamName
	learnedCount, replaced int
}

// streamName is an SSRC and the layer it belongs to.
type streamName struct {
	ssrc uint32
	rid  string
}

// several reports whether the camera sends more than one layer.
func (s *simulcast) several() bool { return len(s.rids) > 0 || len(s.sources) > 0 }

// readSimulcast reads what a video section says of its layers: RFC 8853, section 5.1, and what browsers did before it.
// Of alternatives it takes the first; what is too many is not taken.
func readSimulcast(m *sdp.MediaDescription) simulcast {
	var s simulcast
	value, _ := m.Attribute("simulcast")
	fields := strings.Fields(value)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "send" {
			s.take(m, fields[i+1])
		}
	}
	if len(s.rids) == 0 {
		s.takeGroup(m)
	}
	return s
}

// take takes the layers of a simulcast list: alternatives are parted by commas, and one that is paused has a tilde.
func (s *simulcast) take(m *sdp.MediaDescription, list string) {
	for stream := range strings.SplitSeq(list, ";") {
		rid, _, _ := strings.Cut(stream, ",")
		rid = strings.TrimPrefix(rid, "~")
		if validRID(rid) && len(s.rids) < maxEncodings && !slices.Contains(s.rids, rid) && sends(m, rid) {
			s.rids = append(s.rids, rid)
		}
	}
}

// validRID holds a name to the grammar of RFC 8851, section 10.
func validRID(rid string) bool {
	return rid != "" && len(rid) <= maxRID && !strings.ContainsFunc(rid, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
}

// sends reports whether the section names rid as one that the peer sends: RFC 8851, section 4.
func sends(m *sdp.MediaDescription, rid string) bool {
	return slices.ContainsFunc(m.Attributes, func(a sdp.Attribute) bool {
		name, rest, _ := strings.Cut(a.Value, " ")
		direction, _, _ := strings.Cut(rest, " ")
		return a.Key == "rid" && name == rid && direction == "send"
	})
}

// takeGroup takes layers that are named by their SSRCs: a=ssrc-group:SIM, with a=ssrc-group:FID for retransmissions.
// They get their numbers as names.
func (s *simulcast) takeGroup(m *sdp.MediaDescription) {
	groups := map[string][][]uint32{}
	for _, a := range m.Attributes {
		if semantics, list, ok := strings.Cut(a.Value, " "); ok && a.Key == "ssrc-group" && len(groups[semantics]) < maxEncodings {
			groups[semantics] = append(groups[semantics], numbers(list))
		}
	}
	for _, ssrcs := range groups["SIM"] {
		if len(s.sources) > 0 || len(ssrcs) < 2 {
			continue
		}
		for i, ssrc := range ssrcs[:min(len(ssrcs), maxEncodings)] {
			s.sources = append(s.sources, streamName{ssrc, strconv.Itoa(i)})
		}
	}
	for _, pair := range groups["FID"] {
		if len(pair) != 2 {
			continue
		}
		if rid, ok := named(s.sources, pair[0]); ok {
			s.repairs = append(s.repairs, streamName{pair[1], rid})
		}
	}
}

// numbers reads a list of SSRCs; what is none is 0.
func numbers(list string) []uint32 {
	var out []uint32
	for f := range strings.FieldsSeq(list) {
		n, _ := strconv.ParseUint(f, 10, 32)
		if out = append(out, uint32(n)); len(out) > maxSources {
			break
		}
	}
	return out
}

func named(sources []streamName, ssrc uint32) (string, bool) {
	i := slices.IndexFunc(sources, func(s streamName) bool { return s.ssrc == ssrc })
	if i < 0 {
		return "", false
	}
	return sources[i].rid, true
}

// extensions are the header extensions that a section is answered with, in the camera's numbers.
func (sec section) extensions(sp spec, s *simulcast) []transport.Extension {
	var out []transport.Extension
	take := func(uri string) uint8 {
		id := sec.extension(uri)
		if id != 0 {
			out = append(out, transport.Extension{ID: id, URI: uri})
		}
		return id
	}
	take(sdp.TransportCCURI)
	take(uriCaptureTime)
	if sp.mimeType == webrtc.MimeTypeAV1 {
		s.descriptorAt = take(uriDescriptor)
	}
	if len(s.rids) > 0 {
		take(uriMID)
		s.ridAt, s.repairedAt = take(uriRID), take(uriRepairedRID)
	}
	return out
}

// layerName returns the name of the layer that a packet of an SSRC not known yet belongs to. It reports false for one
// that belongs to none: a camera that sends several layers says of which each packet is.
func (s *simulcast) layerName(b []byte, ssrc uint32) (string, bool) {
	switch {
	case len(s.sources) > 0:
		return named(s.sources, ssrc)
	case len(s.rids) == 0:
		return "", true
	}
	return s.rid(extension(b, s.ridAt))
}

// rid returns the negotiated name that value is.
func (s *simulcast) rid(value []byte) (string, bool) {
	for _, rid := range s.rids {
		if string(value) == rid {
			return rid, true
		}
	}
	return "", false
}

// repaired returns the layer that a retransmission belongs to, if it or an earlier one of its stream says so.
func (s *simulcast) repaired(b []byte) (string, bool) {
	ssrc := binary.BigEndian.Uint32(b[8:])
	if s.repairedAt != 0 {
		if rid, ok := s.rid(extension(b, s.repairedAt)); ok {
			s.learn(ssrc, rid)
			return rid, true
		}
	}
	if rid, ok := named(s.repairs, ssrc); ok {
		return rid, true
	}
	return named(s.learned[:s.learnedCount], ssrc)
}

// learn remembers whose retransmissions a stream carries: browsers stop saying it once they know that it was heard.
func (s *simulcast) learn(ssrc uint32, rid string) {
	if at := slices.IndexFunc(s.learned[:s.learnedCount], func(o streamName) bool { return o.ssrc == ssrc }); at >= 0 {
		s.learned[at].rid = rid
		return
	}
	if s.learnedCount < len(s.learned) {
		s.learned[s.learnedCount] = streamName{ssrc, rid}
		s.learnedCount++
		return
	}
	s.learned[s.replaced%len(s.learned)] = streamName{ssrc, rid}
	s.replaced++
}
