package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// offer is an offer that nobody connects with: audio and video, bundled.
type offer struct {
	direction, setup string
	ufrag, pwd       string
	video            []string // lines of the video section's formats
	videoFormats     string
	videos           int
	simulcast        bool
	candidates       bool
}

func newOffer(protocol string) offer {
	o := offer{
		direction: "sendonly", setup: "actpass", ufrag: token(4), pwd: token(16), candidates: true, videos: 1,
		videoFormats: "96 102",
		video: []string{
			"a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli", "a=rtpmap:102 H264/90000",
			"a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		},
	}
	if protocol == "whep" {
		o.direction = "recvonly"
	}
	return o
}

// String writes the offer as a browser does.
func (o offer) String() string {
	mids := []string{"0"}
	for i := range o.videos {
		mids = append(mids, fmt.Sprint(i+1))
	}
	lines := []string{
		"v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE " + strings.Join(mids, " "),
		"a=ice-options:trickle", "a=msid-semantic: WMS",
	}
	lines = append(lines, "m=audio 9 UDP/TLS/RTP/SAVPF 111")
	lines = append(lines, o.section("0")...)
	lines = append(lines, "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1")
	for _, mid := range mids[1:] {
		lines = append(lines, "m=video 9 UDP/TLS/RTP/SAVPF "+o.videoFormats)
		lines = append(lines, o.section(mid)...)
		lines = append(lines, o.video...)
		if o.simulcast {
			lines = append(lines, "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
				"a=rid:q send", "a=rid:h send", "a=rid:f send", "a=simulcast:send q;h;f")
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func (o offer) section(mid string) []string {
	lines := []string{
		"c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", "a=ice-ufrag:" + o.ufrag, "a=ice-pwd:" + o.pwd,
		"a=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":"), "a=setup:" + o.setup, "a=mid:" + mid,
		"a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid", "a=" + o.direction, "a=rtcp-mux", "a=rtcp-mux-only", "a=rtcp-rsize",
	}
	if o.direction == "sendonly" || o.direction == "sendrecv" {
		lines = append(lines, "a=msid:stream track"+mid)
	}
	if o.candidates {
		lines = append(lines, "a=candidate:1 1 udp 2122260223 192.0.2.7 40000 typ host generation 0")
	}
	return lines
}

// fragment is a trickle fragment of the offer's ICE session.
func (o offer) fragment(candidates ...string) string {
	lines := []string{
		"a=ice-options:trickle", "a=group:BUNDLE 0 1", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0",
		"a=ice-ufrag:" + o.ufrag, "a=ice-pwd:" + o.pwd,
	}
	for _, c := range candidates {
		lines = append(lines, "a=candidate:"+c)
	}
	return strings.Join(append(lines, ""), "\r\n")
}

const hostCandidate = "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"

// restarted is the offer with another ICE session.
func (o offer) restarted() offer {
	o.ufrag, o.pwd = token(4), token(16)
	return o
}

// description is an answer, or a fragment, by its lines.
type description struct {
	session  []string
	sections [][]string
}

var errSDP = errors.New("no SDP")

func parse(sdp string) (description, error) {
	d, err := parseFragment(sdp)
	if err == nil && (!strings.HasPrefix(sdp, "v=0") || len(d.sections) == 0) {
		err = fmt.Errorf("%w: %.80q", errSDP, sdp)
	}
	return d, err
}

func parseFragment(sdp string) (description, error) {
	var d description
	for line := range strings.Lines(sdp) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "":
		case len(line) < 2 || line[1] != '=':
			return d, fmt.Errorf("%w: line %.80q", errSDP, line)
		case strings.HasPrefix(line, "m="):
			d.sections = append(d.sections, []string{line})
		case len(d.sections) == 0:
			d.session = append(d.session, line)
		default:
			last := len(d.sections) - 1
			d.sections[last] = append(d.sections[last], line)
		}
	}
	return d, nil
}

// values returns what an attribute says in lines.
func values(lines []string, key string) []string {
	var out []string
	for _, line := range lines {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "a="), ":")
		if strings.HasPrefix(line, "a=") && name == key {
			out = append(out, strings.TrimSpace(value))
		}
	}
	return out
}

func has(lines []string, key string) bool { return len(values(lines, key)) > 0 }

// first is the first value of an attribute, in the sections or the session.
func (d description) first(key string) string {
	for _, lines := range append(slices.Clone(d.sections), d.session) {
		if v := values(lines, key); len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func (d description) all(key string) []string {
	out := values(d.session, key)
	for _, lines := range d.sections {
		out = append(out, values(lines, key)...)
	}
	return out
}

// each holds every section to a rule.
func (d description) each(rule func(lines []string) error) error {
	for i, lines := range d.sections {
		if err := rule(lines); err != nil {
			return fmt.Errorf("section %d: %w", i, err)
		}
	}
	return nil
}
