package transport

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Answer is the answer to the offer of a one-way viewer or publisher.
type Answer struct {
	// Offer makes it an offer of the same, in which the peer chooses the DTLS role (RFC 8842, section 5.2).
	Offer bool
	// ID is the session id of the o= line, the same in every answer of a session; Version grows with each
	// (RFC 8866, section 5.2).
	ID, Version uint64
	// Bundle says that the offer had a BUNDLE group (RFC 9143, section 7.3): there is none in the answer otherwise.
	Bundle bool
	// Mixed says that the offer allowed both forms of header extensions in one stream (RFC 8285, section 4.1.2).
	Mixed bool
	Local Local
	// Sections answer the offer's media sections, in its order. Their common transport is that of the first accepted
	// one, which alone carries the candidates (RFC 9143, section 7.1.3).
	Sections []Section
}

// Section answers one media section: we send one codec, or receive one, or nothing.
type Section struct {
	Kind string // of the m= line: "audio", "video", ...
	MID  string
	// Rejected: only Kind, MID, Proto and Codec are used, the latter being any that was offered, as an m= line cannot
	// do without, and Pion wants to know its name.
	Rejected bool
	// Proto is that of the m= line offered; empty means UDP/TLS/RTP/SAVPF.
	Proto string
	Codec Codec
	// Receive says that the codec is received, not sent: such a section needs no SSRC and no names. Both says that it is
	// sent, too, and then it has them.
	Receive, Both bool
	// Data answers a section of data channels (RFC 8841): of the codec's fields none is used.
	Data bool
	// Extensions are the header extensions taken from the offer, with its numbers (RFC 8285, section 6).
	Extensions []Extension
	// RIDs name the simulcast layers that are received (RFC 8853); none means that there is but one, without a name.
	RIDs []string
	// Estimates says that REMB is of use, for want of transport-wide feedback.
	Estimates bool
	// ReducedSize says that the peer offered a=rtcp-rsize (RFC 5506).
	ReducedSize bool
	// SSRC of the media, and of its retransmissions if Codec.RTX is not 0.
	SSRC, RTXSSRC uint32
	// CNAME names the sender (RFC 3550, section 6.5.1), Stream and Track the tracks (RFC 8830).
	CNAME, Stream, Track string
}

const (
	dataFormat = "webrtc-datachannel" // RFC 8841, section 4.3
	sctpPort   = 5000                 // what everybody uses: there is one association a connection
	// MaxMessage is how many bytes a message on a data channel may have towards us: RFC 8841, section 6.
	MaxMessage = 16 << 10
)

// Extension is an RTP header extension.
type Extension struct {
	ID  uint8
	URI string
}

// Codec is the format of a section, with the peer's own numbers and parameters.
type Codec struct {
	PayloadType uint8
	Name        string // of the rtpmap: "VP8", "opus"
	ClockRate   uint32
	Channels    uint16 // 0 for video
	Fmtp        string
	RTX         uint8 // payload type of retransmissions (RFC 4588), 0 for none
	// Feedback lists what the peer offered for the format in a=rtcp-fb; NACK, PLI and FIR are accepted.
	Feedback []string
}

// Feedback about the way, in the words of a=rtcp-fb: transport-wide, and the receiver's own estimate.
const (
	FeedbackTransportCC = "transport-cc"
	FeedbackREMB        = "goog-remb"
)

// accepted is the feedback that is acted on, or sent: a publisher wants to know how its packets arrive, and a viewer
// reports how they do where there are transport-wide numbers, or somebody who reads its estimates.
func (s Section) accepted() []string {
	known := []string{"nack", "nack pli", "ccm fir"}
	numbered := slices.ContainsFunc(s.Extensions, func(e Extension) bool { return e.URI == sdp.TransportCCURI })
	if s.Receive || numbered {
		known = append(known, FeedbackTransportCC)
	}
	if s.Estimates {
		known = append(known, FeedbackREMB)
	}
	var out []string
	for _, f := range known {
		if slices.Contains(s.Codec.Feedback, f) {
			out = append(out, f)
		}
	}
	return out
}

// BuildAnswer writes the answer (RFC 8829, section 5.3; RFC 9725, section 4.4). Its values are written as they are:
// they come from a parsed offer, in which no value spans lines, or are our own.
func BuildAnswer(a Answer) []byte {
	var b sdpWriter
	b.line("v=0")
	b.line("o=- %d %d IN IP4 127.0.0.1", a.ID, a.Version)
	b.line("s=-")
	b.line("t=0 0")
	b.session(a)
	b.line("a=msid-semantic: WMS *")
	first := true
	for _, s := range a.Sections {
		if s.Rejected {
			b.reject(s)
			continue
		}
		b.section(s, a)
		if first {
			b.candidates(a.Local)
		}
		first = false
	}
	return b.text
}

// BuildFragment writes what answers an ICE restart (RFC 9725, section 4.3.3): the new ICE session of the section that
// carries the transport (RFC 8840, section 9).
func BuildFragment(a Answer) []byte {
	var b sdpWriter
	b.session(a)
	for _, s := range a.Sections {
		if s.Rejected {
			continue
		}
		b.mline(s, 9, s.formats())
		b.line("a=mid:%s", s.MID)
		b.line("a=ice-ufrag:%s", a.Local.Ufrag)
		b.line("a=ice-pwd:%s", a.Local.Pwd)
		b.candidates(a.Local)
		break
	}
	return b.text
}

type sdpWriter struct{ text []byte }

// session writes what an ICE session has in an answer and in a fragment alike.
func (b *sdpWriter) session(a Answer) {
	if a.Bundle {
		group := "a=group:BUNDLE"
		for _, s := range a.Sections {
			if !s.Rejected {
				group += " " + s.MID
			}
		}
		b.line("%s", group)
	}
	if a.Local.Lite {
		b.line("a=ice-lite")
	}
	if a.Mixed {
		b.line("a=extmap-allow-mixed")
	}
	b.line("a=ice-options:trickle") // the peer may send candidates later; ours are all here
}

func (b *sdpWriter) line(format string, args ...any) {
	b.text = append(fmt.Appendf(b.text, format, args...), '\r', '\n')
}

func (b *sdpWriter) mline(s Section, port int, formats string) {
	proto := s.Proto
	if proto == "" {
		proto = "UDP/TLS/RTP/SAVPF"
	}
	b.line("m=%s %d %s %s", s.Kind, port, proto, formats)
}

func (b *sdpWriter) head(s Section, port int, formats string) {
	b.mline(s, port, formats)
	b.line("c=IN IP4 0.0.0.0")
	b.line("a=mid:%s", s.MID)
}

// reject answers with port 0 (RFC 3264, section 6).
func (b *sdpWriter) reject(s Section) {
	if s.Data {
		b.head(s, 0, dataFormat)
		return
	}
	b.head(s, 0, strconv.Itoa(int(s.Codec.PayloadType)))
	if s.Codec.Name != "" {
		b.rtpmap(s.Codec)
	}
	b.line("a=inactive")
}

// formats are those of the m= line.
func (s Section) formats() string {
	if s.Data {
		return dataFormat
	}
	formats := strconv.Itoa(int(s.Codec.PayloadType))
	if s.Codec.RTX != 0 {
		formats += " " + strconv.Itoa(int(s.Codec.RTX))
	}
	return formats
}

func (b *sdpWriter) section(s Section, a Answer) {
	local, setup := a.Local, "passive"
	if a.Offer {
		setup = "actpass"
	}
	b.head(s, 9, s.formats())
	b.line("a=ice-ufrag:%s", local.Ufrag)
	b.line("a=ice-pwd:%s", local.Pwd)
	b.line("a=fingerprint:%s %s", local.Fingerprint.Hash, local.Fingerprint.Value)
	b.line("a=setup:%s", setup)
	if s.Data {
		b.line("a=sctp-port:%d", sctpPort)
		b.line("a=max-message-size:%d", MaxMessage)
		return
	}
	switch {
	case s.Both:
		b.line("a=sendrecv")
	case s.Receive:
		b.line("a=recvonly")
	default:
		b.line("a=sendonly")
	}
	for _, e := range s.Extensions {
		b.line("a=extmap:%d %s", e.ID, e.URI)
	}
	b.line("a=rtcp-mux")
	b.line("a=rtcp-mux-only") // RFC 9725, section 4.4.1
	if s.ReducedSize {
		b.line("a=rtcp-rsize")
	}
	b.codec(s)
	b.layers(s.RIDs)
	if s.Receive && !s.Both {
		return
	}
	b.line("a=msid:%s %s", s.Stream, s.Track)
	b.sources(s)
}

func (b *sdpWriter) rtpmap(c Codec) {
	rtpmap := fmt.Sprintf("%s/%d", c.Name, c.ClockRate)
	if c.Channels > 0 {
		rtpmap += "/" + strconv.Itoa(int(c.Channels))
	}
	b.line("a=rtpmap:%d %s", c.PayloadType, rtpmap)
}

func (b *sdpWriter) codec(s Section) {
	c := s.Codec
	b.rtpmap(c)
	if c.Fmtp != "" {
		b.line("a=fmtp:%d %s", c.PayloadType, c.Fmtp)
	}
	for _, f := range s.accepted() {
		b.line("a=rtcp-fb:%d %s", c.PayloadType, f)
	}
	if c.RTX != 0 {
		b.line("a=rtpmap:%d rtx/%d", c.RTX, c.ClockRate)
		b.line("a=fmtp:%d apt=%d", c.RTX, c.PayloadType)
	}
}

// sources names the SSRCs. The primary one comes first: Chromium takes the first as the one to play, and shows
// nothing, without an error, if that is the retransmissions'.
func (b *sdpWriter) sources(s Section) {
	ssrcs := []uint32{s.SSRC}
	if s.Codec.RTX != 0 {
		ssrcs = append(ssrcs, s.RTXSSRC)
		b.line("a=ssrc-group:FID %d %d", s.SSRC, s.RTXSSRC) // RFC 5576, section 4.2
	}
	for _, ssrc := range ssrcs {
		b.line("a=ssrc:%d cname:%s", ssrc, s.CNAME)
		b.line("a=ssrc:%d msid:%s %s", ssrc, s.Stream, s.Track)
	}
}

// layers answers simulcast: RFC 8853, section 5.3.2.
func (b *sdpWriter) layers(rids []string) {
	for _, rid := range rids {
		b.line("a=rid:%s recv", rid)
	}
	if len(rids) > 0 {
		b.line("a=simulcast:recv %s", strings.Join(rids, ";"))
	}
}

func (b *sdpWriter) candidates(local Local) {
	for _, c := range local.Candidates {
		b.line("a=%s", strings.TrimPrefix(c, "a="))
	}
	b.line("a=end-of-candidates")
}
