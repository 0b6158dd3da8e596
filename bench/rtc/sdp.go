package rtc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Codec is one format of a media section.
type Codec struct {
	Name        string // of a=rtpmap: "VP8", "H264", "opus"
	ClockRate   int
	Channels    int
	Format      string // of a=fmtp
	PayloadType uint8
	RTX         uint8 // payload type of retransmissions, 0 for none

	feedback []string // of a=rtcp-fb
}

// Section is one media section of an offer.
type Section struct {
	Kind   string // "audio" or "video"
	Send   bool   // sendonly, else recvonly
	Codecs []Codec
	SSRC   uint32   // when sending, without simulcast
	RIDs   []string // simulcast, the best first
	// Congestion offers transport-wide numbers and feedback.
	Congestion bool
}

// Header extension ids of offers: with simulcast, with congestion control.
const (
	MidExtension    = 1
	RIDExtension    = 2
	NumberExtension = 3
)

// terms are what the offerer of a section decides.
type terms struct {
	mid, setup, protocol string
	number               uint8 // extension id of transport-wide numbers
}

// writer writes one line.
type writer func(format string, args ...any)

// Offer writes the offer of these sections.
func (t *Transport) Offer(sections []Section) string {
	mids := make([]string, len(sections))
	for i := range sections {
		mids[i] = strconv.Itoa(i)
	}
	var b strings.Builder
	line := t.begin(&b, mids)
	for i, s := range sections {
		s.Codecs = slices.Clone(s.Codecs)
		for j := range s.Codecs {
			s.Codecs[j].feedback = s.feedback()
		}
		t.writeSection(line, s, terms{mid: mids[i], setup: "actpass", protocol: "UDP/TLS/RTP/SAVPF", number: NumberExtension})
	}
	return b.String()
}

// begin writes what stands before the sections.
func (t *Transport) begin(b *strings.Builder, bundled []string) writer {
	line := func(format string, args ...any) { fmt.Fprintf(b, format+"\r\n", args...) }
	line("v=0")
	line("o=- %d 1 IN IP4 127.0.0.1", 1+t.socket.LocalAddr().Port())
	line("s=-")
	line("t=0 0")
	if len(bundled) > 0 {
		line("a=group:BUNDLE %s", strings.Join(bundled, " "))
	}
	line("a=msid-semantic: WMS *")
	return line
}

// feedback is what we have to say about a stream.
func (s Section) feedback() []string {
	var f []string
	if s.Kind == "video" {
		f = append(f, "nack", "nack pli", "ccm fir")
	}
	if s.Congestion {
		f = append(f, "transport-cc")
	}
	return f
}

func (t *Transport) writeSection(line writer, s Section, by terms) {
	var formats []string
	for _, c := range s.Codecs {
		formats = append(formats, strconv.Itoa(int(c.PayloadType)))
		if c.RTX != 0 {
			formats = append(formats, strconv.Itoa(int(c.RTX)))
		}
	}
	line("m=%s 9 %s %s", s.Kind, by.protocol, strings.Join(formats, " "))
	line("c=IN IP4 0.0.0.0")
	line("a=rtcp:9 IN IP4 0.0.0.0")
	line("a=ice-ufrag:%s", t.ice.ufrag)
	line("a=ice-pwd:%s", t.ice.pwd)
	line("a=fingerprint:sha-256 %s", fingerprintOf(t.cfg.Certificate))
	line("a=setup:%s", by.setup)
	if by.mid != "" {
		line("a=mid:%s", by.mid)
	}
	line("a=rtcp-mux")
	line("a=rtcp-rsize")
	if s.Send {
		line("a=sendonly")
		line("a=msid:bench %s", s.Kind)
	} else {
		line("a=recvonly")
	}
	for _, c := range s.Codecs {
		c.write(line)
	}
	if s.Congestion && by.number != 0 {
		line("a=extmap:%d %s", by.number, sdp.TransportCCURI)
	}
	if len(s.RIDs) > 0 {
		line("a=extmap:%d urn:ietf:params:rtp-hdrext:sdes:mid", MidExtension)
		line("a=extmap:%d urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", RIDExtension)
		for _, rid := range s.RIDs {
			line("a=rid:%s send", rid)
		}
		line("a=simulcast:send %s", strings.Join(s.RIDs, ";"))
	} else if s.Send {
		line("a=ssrc:%d cname:bench", s.SSRC)
		line("a=ssrc:%d msid:bench %s", s.SSRC, s.Kind)
	}
	line("a=candidate:1 1 udp %d %s %d typ host", hostPriority, t.cfg.Advertise, t.socket.LocalAddr().Port())
	line("a=end-of-candidates")
}

func (c Codec) write(line writer) {
	channels := ""
	if c.Channels > 1 {
		channels = fmt.Sprintf("/%d", c.Channels)
	}
	line("a=rtpmap:%d %s/%d%s", c.PayloadType, c.Name, c.ClockRate, channels)
	if c.Format != "" {
		line("a=fmtp:%d %s", c.PayloadType, c.Format)
	}
	for _, f := range c.feedback {
		line("a=rtcp-fb:%d %s", c.PayloadType, f)
	}
	if c.RTX != 0 {
		line("a=rtpmap:%d rtx/%d", c.RTX, c.ClockRate)
		line("a=fmtp:%d apt=%d", c.RTX, c.PayloadType)
	}
}

// Answer is what a server's answer says of the one transport and its tracks,
// or what came of an offer of its own.
type Answer struct {
	Ufrag, Pwd  string
	Fingerprint string
	Setup       string
	Candidates  []netip.AddrPort // UDP only
	Tracks      []Track

	offered bool // the server has made the offer
	lite    bool // it is an ICE-lite agent
}

// Track is one media section of an answer; Codec is empty if rejected.
type Track struct {
	Kind      string
	Codec     string
	Payload   uint8
	RTX       uint8
	Simulcast bool  // the server takes the layers
	Number    uint8 // extension id of transport-wide numbers, 0 without them
}

// ParseAnswer reads an answer with bundled sections.
func ParseAnswer(raw string) (*Answer, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(raw); err != nil {
		return nil, fmt.Errorf("rtc: answer: %w", err)
	}
	a := &Answer{}
	for _, m := range d.MediaDescriptions {
		if !taken(m) {
			a.Tracks = append(a.Tracks, Track{Kind: m.MediaName.Media})
			continue
		}
		a.addTransport(&d, m)
		a.Tracks = append(a.Tracks, trackOf(m))
	}
	if len(a.Tracks) > 0 && !slices.ContainsFunc(d.MediaDescriptions, taken) {
		return nil, errors.New("rtc: the server rejects every media section")
	}
	if err := a.complete(); err != nil {
		return nil, fmt.Errorf("rtc: answer: %w", err)
	}
	return a, nil
}

// taken reports whether the answerer takes a section.
func taken(m *sdp.MediaDescription) bool { return m.MediaName.Port.Value != 0 }

// addTransport takes what a section says of the transport, or the description
// for all sections. The first one counts, but for candidates.
func (a *Answer) addTransport(d *sdp.SessionDescription, m *sdp.MediaDescription) {
	get := func(key string) string {
		if v, ok := m.Attribute(key); ok {
			return v
		}
		v, _ := d.Attribute(key)
		return v
	}
	if a.Ufrag == "" {
		a.Ufrag, a.Pwd = get("ice-ufrag"), get("ice-pwd")
		a.Fingerprint, a.Setup = get("fingerprint"), get("setup")
	}
	for _, attribute := range slices.Concat(m.Attributes, d.Attributes) {
		if attribute.Key == "candidate" {
			a.addCandidate(attribute.Value)
		}
	}
}

func (a *Answer) complete() error {
	if a.Ufrag == "" || a.Pwd == "" || a.Fingerprint == "" {
		return errors.New("no ICE credentials or no fingerprint")
	}
	return nil
}

// addCandidate keeps a UDP candidate of component 1 with an IPv4 address.
func (a *Answer) addCandidate(line string) {
	f := strings.Fields(line)
	if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") {
		return
	}
	addr, err := netip.ParseAddr(f[4])
	port, portErr := strconv.ParseUint(f[5], 10, 16)
	if err != nil || portErr != nil || !addr.Unmap().Is4() {
		return
	}
	if c := netip.AddrPortFrom(addr.Unmap(), uint16(port)); !slices.Contains(a.Candidates, c) {
		a.Candidates = append(a.Candidates, c)
	}
}

// usable orders the candidates: the preferred address first.
func (a *Answer) usable(prefer netip.Addr) ([]netip.AddrPort, error) {
	if len(a.Candidates) == 0 {
		return nil, errors.New("rtc: the server has no UDP candidate with an IPv4 address")
	}
	ordered := slices.Clone(a.Candidates)
	slices.SortStableFunc(ordered, func(x, y netip.AddrPort) int {
		switch {
		case x.Addr() == y.Addr():
			return 0
		case x.Addr() == prefer:
			return -1
		case y.Addr() == prefer:
			return 1
		}
		return 0
	})
	return ordered, nil
}

func trackOf(m *sdp.MediaDescription) Track {
	t := Track{Kind: m.MediaName.Media}
	for _, a := range m.Attributes {
		pt, value, _ := strings.Cut(a.Value, " ")
		n, err := strconv.ParseUint(pt, 10, 7)
		switch {
		case a.Key == "simulcast":
			t.Simulcast = true
		case a.Key == "extmap" && n == NumberExtension:
			if strings.HasPrefix(value, sdp.TransportCCURI) {
				t.Number = NumberExtension
			}
		case a.Key != "rtpmap" || err != nil:
		case strings.HasPrefix(strings.ToLower(value), "rtx/"):
			t.RTX = uint8(n)
		case t.Codec == "":
			t.Codec, _, _ = strings.Cut(value, "/")
			t.Payload = uint8(n)
		}
	}
	if slices.ContainsFunc(m.Attributes, func(a sdp.Attribute) bool { return a.Key == "inactive" }) {
		t.Codec = ""
	}
	return t
}
