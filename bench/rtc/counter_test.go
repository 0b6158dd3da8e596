package rtc

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"github.com/securecam/securecam/bench/wire"
)

// offer is a server's: data, audio, H.264 in two formats, and VP8 in a section of which the first has the transport.
const offer = `v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE data sound camera more
a=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:data
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 AA:BB
a=setup:actpass
a=candidate:1 1 udp 2130706431 127.0.0.1 8090 typ host
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=mid:sound
a=sendonly
a=rtpmap:111 opus/48000/2
a=rtpmap:0 PCMU/8000
m=video 9 UDP/TLS/RTP/SAVPF 104 105 106 107
c=IN IP4 0.0.0.0
a=mid:camera
a=sendrecv
a=rtcp-fb:* nack pli
a=rtcp-fb:106 nack
a=rtcp-fb:106 transport-cc
a=rtpmap:104 H264/90000
a=fmtp:104 packetization-mode=0;profile-level-id=42e01f
a=rtpmap:105 rtx/90000
a=fmtp:105 apt=104
a=rtpmap:106 H264/90000
a=fmtp:106 profile-level-id=42E01F;packetization-mode=1;level-asymmetry-allowed=1
a=rtpmap:107 rtx/90000
a=fmtp:107 apt=106
m=video 0 UDP/TLS/RTP/SAVPF 120
c=IN IP4 0.0.0.0
a=mid:more
a=bundle-only
a=sendonly
a=rtpmap:120 vp8/90000
m=video 0 UDP/TLS/RTP/SAVPF 121
c=IN IP4 0.0.0.0
a=mid:gone
a=rtpmap:121 VP9/90000
m=video 9 UDP/TLS/RTP/SAVPF 122
c=IN IP4 0.0.0.0
a=mid:back
a=recvonly
a=rtpmap:122 AV1/90000
`

// video wants a picture in a codec.
func video(name, format string) Section {
	return Section{Kind: "video", Congestion: true, Codecs: []Codec{{Name: name, ClockRate: 90000, Format: format, PayloadType: 96, RTX: 97}}}
}

func transport(tb testing.TB) *Transport {
	tb.Helper()
	poller, err := wire.NewPoller(wire.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := NewCertificate()
	if err != nil {
		tb.Fatal(err)
	}
	tr, err := New(Config{Poller: poller, Certificate: c, Advertise: netip.MustParseAddr("127.0.0.1")}, Callbacks{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tr.Close(); err != nil {
			tb.Error(err)
		}
		if err := poller.Close(); err != nil {
			tb.Error(err)
		}
	})
	return tr
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	tr := transport(t)
	o, err := ParseOffer(strings.ReplaceAll(offer, "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	sound := Section{Kind: "audio", Codecs: []Codec{{Name: "opus", ClockRate: 48000, Channels: 2, PayloadType: 96}}}
	raw, agreed, err := tr.Answer(o, []Section{video("H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"), sound})
	if err != nil {
		t.Fatal(err)
	}
	want := []Track{{Kind: "video", Codec: "H264", Payload: 106, RTX: 107, Number: 5}, {Kind: "audio", Codec: "opus", Payload: 111}}
	if !reflect.DeepEqual(agreed.Tracks, want) || agreed.Ufrag != "abcd" || !agreed.offered || len(agreed.Candidates) != 1 {
		t.Errorf("agreed on %+v, want %+v", agreed, want)
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(raw); err != nil {
		t.Fatal(err)
	}
	if group, _ := d.Attribute("group"); group != "BUNDLE sound camera" || len(d.MediaDescriptions) != 6 {
		t.Errorf("the answer has %d sections, of which %q", len(d.MediaDescriptions), group)
	}
	for i, wanted := range []string{"data 0", "sound 9 111", "camera 9 106 107", "more 0", "gone 0", "back 0"} {
		m := d.MediaDescriptions[i]
		mid, _ := m.Attribute("mid")
		got := mid + " " + m.MediaName.Port.String()
		if m.MediaName.Port.Value != 0 {
			got += " " + strings.Join(m.MediaName.Formats, " ")
		}
		if got != wanted {
			t.Errorf("section %d is %q, want %q", i, got, wanted)
		}
	}
	for line, n := range map[string]int{
		"a=setup:active": 2, "a=recvonly": 2, "a=inactive": 4, "a=rtcp-fb:106 nack": 1, "a=rtcp-fb:106 nack pli": 1,
		"a=rtcp-fb:106 ccm fir": 0, "a=rtcp-fb:106 transport-cc": 1, "a=fmtp:107 apt=106": 1,
		"a=extmap:5 " + sdp.TransportCCURI: 1,
	} {
		if got := strings.Count(raw, line+"\r\n"); got != n {
			t.Errorf("%q stands in the answer %d times, want %d", line, got, n)
		}
	}
}

// TestAnswerChooses takes the section and the format that come closest.
func TestAnswerChooses(t *testing.T) {
	t.Parallel()
	tr := transport(t)
	o, err := ParseOffer(strings.Replace(offer, "actpass", "active", 1))
	if err != nil {
		t.Fatal(err)
	}
	raw, agreed, err := tr.Answer(o, []Section{video("H264", "packetization-mode=1;profile-level-id=640032"), video("VP8", "")})
	if err != nil || agreed.Tracks[0].Payload != 104 || agreed.Tracks[1].Payload != 120 || agreed.Tracks[1].Number != 0 {
		t.Errorf("agreed on %+v (%v), want the first H.264, and VP8 in the section that is bundled only", agreed, err)
	}
	if strings.Count(raw, "a=setup:passive\r\n") != 2 {
		t.Errorf("a server that will be active is answered\n%s", raw)
	}
	for name, wanted := range map[string][]Section{
		"unknown codec": {video("H265", "")}, "a section twice": {video("VP8", ""), video("VP8", "")},
		"rejected": {video("VP9", "")}, "wants to receive": {video("AV1", "")},
	} {
		if _, _, err := tr.Answer(o, wanted); err == nil || !strings.Contains(err.Error(), "offers no video in "+wanted[0].Codecs[0].Name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.bundle = nil
	if _, _, err := tr.Answer(o, []Section{video("H264", ""), video("VP8", "")}); err == nil {
		t.Error("two transports were taken")
	}
	if _, _, err := tr.Answer(o, []Section{video("H264", "")}); err != nil {
		t.Errorf("one section without a bundle: %v", err)
	}
	if o, err = ParseOffer(strings.NewReplacer(" camera", "", "a=mid:camera", "a=mid:camera\na=ice-ufrag:efgh").Replace(offer)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tr.Answer(o, []Section{video("H264", "")}); err == nil {
		t.Error("a section is thought to have another's transport")
	}
}

func TestBadOffers(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"empty": "", "no SDP": "not acceptable", "no media": offer[:strings.Index(offer, "m=")],
		"no credentials": strings.ReplaceAll(offer, "a=ice-pwd", "a=x"), "no fingerprint": strings.ReplaceAll(offer, "a=fingerprint", "a=x"),
	} {
		if _, err := ParseOffer(raw); err == nil || !strings.HasPrefix(err.Error(), "rtc: offer: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzOffer holds that every answer has the sections of its offer.
func FuzzOffer(f *testing.F) {
	f.Add(offer)
	f.Add(answer)
	tr := transport(f)
	f.Fuzz(func(t *testing.T, raw string) {
		o, err := ParseOffer(raw)
		if err != nil {
			return
		}
		got, agreed, err := tr.Answer(o, []Section{video("VP8", "")})
		if err != nil {
			return
		}
		if agreed.Ufrag == "" || len(agreed.Tracks) != 1 || agreed.Tracks[0].Codec == "" {
			t.Errorf("an offer without transport or track was answered: %+v", agreed)
		}
		var d sdp.SessionDescription
		if err := d.UnmarshalString(got); err != nil || len(d.MediaDescriptions) != len(o.sections) {
			t.Errorf("%v: %d sections of %d in\n%s", err, len(d.MediaDescriptions), len(o.sections), got)
		}
	})
}
