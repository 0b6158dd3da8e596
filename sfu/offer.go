package sfu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/securecam/securecam/sfu/transport"
)

const (
	maxOffer    = 64 << 10
	maxSections = 3 // one audio, one video, one of data channels
	// maxCandidates bounds the remote candidates of a session: each makes the server send checks to an address that
	// the peer names.
	maxCandidates = 32
)

// role is what a session does: publish or play.
type role uint8

const (
	publish role = iota
	play
)

// offer is a peer's offer, checked, and cleaned of what is not negotiated.
type offer struct {
	desc     *sdp.SessionDescription
	sections []section
	ufrag    string
	bundled  bool // the peer offered a BUNDLE group
}

// section is one media section of an offer.
type section struct {
	kind  kind
	media *sdp.MediaDescription
	specs []spec
	data  bool // data channels: neither kind nor specs
}

// parseOffer checks everything that RFC 9725 and the WHEP draft ask of an offer, so that a bad one costs no
// transport.
func parseOffer(raw []byte, r role) (*offer, error) {
	if len(raw) == 0 || len(raw) > maxOffer {
		return nil, fmt.Errorf("%w: size %d", ErrBadOffer, len(raw))
	}
	o := &offer{desc: &sdp.SessionDescription{}}
	if err := o.desc.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	switch n := len(o.desc.MediaDescriptions); {
	case n == 0:
		return nil, fmt.Errorf("%w: no media section", ErrBadOffer)
	case n > maxSections:
		return nil, fmt.Errorf("%w: %d media sections", ErrUnsupported, n)
	}
	seen := [kinds + 1]bool{}
	for _, m := range o.desc.MediaDescriptions {
		s, err := o.checkSection(m, r)
		if err != nil {
			return nil, err
		}
		if seen[s.place()] {
			return nil, fmt.Errorf("%w: more than one %s section", ErrUnsupported, m.MediaName.Media)
		}
		seen[s.place()] = true
		o.sections = append(o.sections, s)
	}
	if !seen[audio] && !seen[video] {
		return nil, fmt.Errorf("%w: no audio and no video", ErrUnsupported)
	}
	return o, o.checkBundle()
}

// checkSection checks one media section with the session's own attributes as defaults.
func (o *offer) checkSection(m *sdp.MediaDescription, r role) (section, error) {
	s := section{media: m}
	switch strings.ToLower(m.MediaName.Media) {
	case "audio":
		s.kind = audio
	case "video":
		s.kind = video
	case "application":
		s.data = true
		return s, o.checkData(m)
	default:
		return s, fmt.Errorf("%w: media %q", ErrUnsupported, m.MediaName.Media)
	}
	if !slices.Contains(m.MediaName.Protos, "SAVPF") || !slices.Contains(m.MediaName.Protos, "TLS") {
		return s, fmt.Errorf("%w: transport %s", ErrUnsupported, strings.Join(m.MediaName.Protos, "/"))
	}
	if _, bundled := m.Attribute("bundle-only"); m.MediaName.Port.Value == 0 && !bundled {
		return s, fmt.Errorf("%w: rejected media section", ErrUnsupported)
	}
	if mid, _ := m.Attribute("mid"); mid == "" {
		return s, fmt.Errorf("%w: no mid", ErrBadOffer)
	}
	if _, ok := m.Attribute("rtcp-mux"); !ok {
		return s, fmt.Errorf("%w: no rtcp-mux", ErrUnsupported)
	}
	if err := o.checkDirection(m, r); err != nil {
		return s, err
	}
	if s.specs = specsOf(s.kind, m); len(s.specs) == 0 {
		return s, fmt.Errorf("%w: no common %s codec", errCodec, s.kind)
	}
	return s, o.checkTransport(m)
}

// place is where a section counts: its kind, or behind the kinds.
func (s section) place() int {
	if s.data {
		return int(kinds)
	}
	return int(s.kind)
}

// checkData checks a section of data channels: RFC 8841, section 4.
func (o *offer) checkData(m *sdp.MediaDescription) error {
	if !slices.Contains(m.MediaName.Protos, "DTLS") || !slices.Contains(m.MediaName.Protos, "SCTP") ||
		!slices.Contains(m.MediaName.Formats, "webrtc-datachannel") {
		return fmt.Errorf("%w: data channels over %s", ErrUnsupported, strings.Join(m.MediaName.Protos, "/"))
	}
	if port, _ := m.Attribute("sctp-port"); port == "" || strings.Trim(port, "0123456789") != "" {
		return fmt.Errorf("%w: no SCTP port", ErrBadOffer)
	}
	if mid, _ := m.Attribute("mid"); mid == "" {
		return fmt.Errorf("%w: no mid", ErrBadOffer)
	}
	return o.checkTransport(m)
}

// hasData reports whether the peer wants data channels.
func (o *offer) hasData() bool {
	return slices.ContainsFunc(o.sections, func(s section) bool { return s.data })
}

// answerData accepts data channels.
func (s section) answerData() transport.Section {
	mid, _ := s.media.Attribute("mid")
	return transport.Section{Data: true, Kind: "application", MID: mid, Proto: strings.Join(s.media.MediaName.Protos, "/")}
}

// direction is what a section offers to do: RFC 8866, section 6.7.
func (o *offer) direction(m *sdp.MediaDescription) string {
	direction := "sendrecv"
	for _, attributes := range [][]sdp.Attribute{o.desc.Attributes, m.Attributes} {
		for _, a := range attributes {
			if isDirection(a.Key) {
				direction = a.Key
			}
		}
	}
	return direction
}

// checkDirection refuses a publisher that does not send and a player that does not receive.
func (o *offer) checkDirection(m *sdp.MediaDescription, r role) error {
	direction := o.direction(m)
	want := [...]string{publish: "sendonly", play: "recvonly"}[r]
	if direction != want && direction != "sendrecv" {
		return fmt.Errorf("%w: direction %s", ErrUnsupported, direction)
	}
	return nil
}

func isDirection(key string) bool {
	switch key {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		return true
	}
	return false
}

// checkTransport checks ICE credentials, DTLS fingerprint and DTLS role of a section.
func (o *offer) checkTransport(m *sdp.MediaDescription) error {
	ufrag, pwd := o.attribute(m, "ice-ufrag"), o.attribute(m, "ice-pwd")
	// RFC 8839, section 5.4.
	if !iceChars(ufrag, 4) || !iceChars(pwd, 22) {
		return fmt.Errorf("%w: ICE credentials", ErrBadOffer)
	}
	if o.ufrag == "" {
		o.ufrag = ufrag
	}
	if hash, value, ok := strings.Cut(o.attribute(m, "fingerprint"), " "); !ok || hash == "" || len(value) < 2 {
		return fmt.Errorf("%w: DTLS fingerprint", ErrBadOffer)
	}
	switch setup := o.attribute(m, "setup"); setup {
	case "actpass", "active":
		return nil
	case "":
		return fmt.Errorf("%w: no DTLS role", ErrBadOffer)
	default:
		return fmt.Errorf("%w: DTLS role %q", ErrUnsupported, setup)
	}
}

// attribute returns a section's attribute, or the session's.
func (o *offer) attribute(m *sdp.MediaDescription, key string) string {
	if v, ok := m.Attribute(key); ok {
		return v
	}
	v, _ := o.desc.Attribute(key)
	return v
}

func iceChars(s string, least int) bool {
	if len(s) < least || len(s) > 256 {
		return false
	}
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
	return strings.Trim(s, chars) == "" // cuts from both ends: what is left begins with another character
}

// checkBundle wants all sections on one transport: RFC 9725, section 4.4.1.
func (o *offer) checkBundle() error {
	var offered, mids []string
	for _, a := range o.desc.Attributes {
		if tags, ok := strings.CutPrefix(a.Value, "BUNDLE "); a.Key == "group" && ok {
			offered = append(offered, strings.Fields(tags)...)
		}
	}
	o.bundled = len(offered) > 0
	for _, s := range o.sections {
		mid, _ := s.media.Attribute("mid")
		alone := len(o.sections) == 1 && !o.bundled
		if !alone && !slices.Contains(offered, mid) || slices.Contains(mids, mid) {
			return fmt.Errorf("%w: media sections are not bundled", ErrUnsupported)
		}
		mids = append(mids, mid)
	}
	return nil
}

// mixed reports whether the peer takes both forms of header extensions in one stream: RFC 8285, section 6.
func (o *offer) mixed() bool {
	_, mixed := o.desc.Attribute("extmap-allow-mixed")
	return mixed
}

// extension returns the number that the peer gives a header extension, 0 if it has none: RFC 8285, section 5.
func (s section) extension(uri string) uint8 {
	for _, a := range s.media.Attributes {
		id, rest, _ := strings.Cut(a.Value, " ")
		if name, _, _ := strings.Cut(rest, " "); a.Key != "extmap" || name != uri {
			continue
		}
		id, _, _ = strings.Cut(id, "/")
		if n, err := strconv.ParseUint(id, 10, 8); err == nil && n >= 1 && n <= 14 {
			return uint8(n)
		}
	}
	return 0
}

// remote is the peer's transport, as a section describes it. Only candidates that the server can and may send checks to
// are left, and not many of those.
func (o *offer) remote(section int) transport.Remote {
	r := transport.RemoteOf(o.desc, o.sections[section].media)
	r.Candidates = slices.DeleteFunc(r.Candidates, func(line string) bool {
		return !usable(strings.TrimPrefix(line, "candidate:"))
	})
	r.Candidates = r.Candidates[:min(len(r.Candidates), maxCandidates)]
	return r
}
