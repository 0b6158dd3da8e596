package sfu

import (
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

// kind is audio or video; a session has at most one track of each.
type kind uint8

const (
	audio kind = iota
	video
	kinds // how many there are
)

func (k kind) String() string {
	if k == audio {
		return "audio"
	}
	return "video"
}

// spec is a codec as one peer sends or receives it.
type spec struct {
	kind        kind
	mimeType    string // canonical: "video/VP8"
	clockRate   uint32
	channels    uint16
	fmtp        string
	payloadType uint8
	rtx         uint8 // payload type of its retransmissions, 0 if the peer offers none
}

// supported lists what is forwarded, by the name in a=rtpmap.
func supported(k kind, name string, clockRate uint32) (mimeType string, ok bool) {
	type key struct {
		kind  kind
		name  string
		clock uint32
	}
	switch (key{k, strings.ToUpper(name), clockRate}) {
	case key{audio, "OPUS", 48000}:
		return webrtc.MimeTypeOpus, true
	case key{video, "VP8", 90000}:
		return webrtc.MimeTypeVP8, true
	case key{video, "VP9", 90000}:
		return webrtc.MimeTypeVP9, true
	case key{video, "H264", 90000}:
		return webrtc.MimeTypeH264, true
	case key{video, "AV1", 90000}:
		return webrtc.MimeTypeAV1, true
	}
	return "", false
}

const (
	// maxFormats bounds the formats of a media section: there are 128 payload types, and browsers offer some thirty.
	maxFormats = 64
	// maxFmtp bounds the parameters of a format; those of H.264 with parameter sets are the longest.
	maxFmtp = 1024
)

// specsOf returns the supported codecs of a media section in the peer's order of preference. It returns none for a
// section that names a format twice, or too many: its work must not grow with the square of what a peer sends.
func specsOf(k kind, m *sdp.MediaDescription) []spec {
	fmtps := make(map[string]string)
	names := make(map[string]string)
	for _, a := range m.Attributes {
		pt, value, ok := strings.Cut(a.Value, " ")
		if !ok || len(value) > maxFmtp {
			continue
		}
		switch a.Key {
		case "rtpmap":
			names[pt] = strings.TrimSpace(value)
		case "fmtp":
			fmtps[pt] = strings.TrimSpace(value)
		}
	}
	if len(m.MediaName.Formats) > maxFormats {
		return nil
	}
	retransmissions := rtxOf(m, names, fmtps)
	var specs []spec
	seen := make(map[string]bool)
	for _, pt := range m.MediaName.Formats {
		if seen[pt] {
			return nil
		}
		seen[pt] = true
		n, err := strconv.ParseUint(pt, 10, 7)
		if err != nil {
			continue
		}
		if s, ok := parseSpec(k, names[pt]); ok {
			s.payloadType, s.fmtp, s.rtx = uint8(n), fmtps[pt], retransmissions[pt]
			specs = append(specs, s)
		}
	}
	return specs
}

// parseSpec reads an rtpmap value: name/clock rate[/channels].
func parseSpec(k kind, rtpmap string) (spec, bool) {
	name, rest, _ := strings.Cut(rtpmap, "/")
	clock, channels, _ := strings.Cut(rest, "/")
	rate, err := strconv.ParseUint(clock, 10, 32)
	if err != nil {
		return spec{}, false
	}
	s := spec{kind: k, clockRate: uint32(rate)}
	var ok bool
	if s.mimeType, ok = supported(k, name, s.clockRate); !ok {
		return spec{}, false
	}
	if channels != "" {
		n, err := strconv.ParseUint(channels, 10, 8)
		if err != nil {
			return spec{}, false
		}
		s.channels = uint16(n)
	}
	return s, true
}

// rtxOf returns the retransmission format of each payload type that has one (RFC 4588, section 8.1).
func rtxOf(m *sdp.MediaDescription, names, fmtps map[string]string) map[string]uint8 {
	found := make(map[string]uint8)
	for _, rtx := range m.MediaName.Formats {
		n, err := strconv.ParseUint(rtx, 10, 7)
		if err != nil || !strings.EqualFold(names[rtx], "rtx/90000") {
			continue
		}
		apt := parameter(fmtps[rtx], "apt", "")
		if _, taken := found[apt]; !taken {
			found[apt] = uint8(n)
		}
	}
	return found
}

// match returns the viewer's format that can take what a camera sends, the best first.
func match(camera spec, offered []spec) (spec, bool) {
	var second *spec
	for i, o := range offered {
		if o.mimeType != camera.mimeType || o.clockRate != camera.clockRate || o.channels != camera.channels {
			continue
		}
		switch {
		case sameFormat(camera, o):
			return o, true
		case second == nil && decodable(camera, o):
			second = &offered[i]
		}
	}
	if second == nil {
		return spec{}, false
	}
	return *second, true
}

// sameFormat reports whether two formats of one codec are the same stream format.
func sameFormat(a, b spec) bool {
	switch a.mimeType {
	case webrtc.MimeTypeH264:
		return h264Profile(a.fmtp) == h264Profile(b.fmtp) &&
			parameter(a.fmtp, "packetization-mode", "0") == parameter(b.fmtp, "packetization-mode", "0")
	case webrtc.MimeTypeVP9:
		return parameter(a.fmtp, "profile-id", "0") == parameter(b.fmtp, "profile-id", "0")
	case webrtc.MimeTypeAV1:
		return parameter(a.fmtp, "profile", "0") == parameter(b.fmtp, "profile", "0")
	}
	return true
}

// decodable reports whether a receiver of format b understands a: H.264 profiles contain each other, and who takes
// packetization mode 1 takes mode 0 (RFC 6184, section 8.1).
func decodable(a, b spec) bool {
	if a.mimeType != webrtc.MimeTypeH264 {
		return false
	}
	from, to := h264Profile(a.fmtp), h264Profile(b.fmtp)
	mode := parameter(b.fmtp, "packetization-mode", "0")
	return from != 0 && from <= to && (mode == "1" || mode == parameter(a.fmtp, "packetization-mode", "0"))
}

// h264Profile ranks the profile that is agreed on.
func h264Profile(fmtp string) int { return agreedProfile(fmtp).Rank() }

// agreedProfile is that of a format, which is the least that browsers have where it says nothing.
func agreedProfile(fmtp string) codec.Profile {
	return codec.ProfileOf(parameter(fmtp, "profile-level-id", "42e01f"))
}

// parameter returns a value of a format parameter list "a=1;b=2".
func parameter(fmtp, name, fallback string) string {
	for p := range strings.SplitSeq(fmtp, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, name) {
			return strings.ToLower(v)
		}
	}
	return fallback
}
