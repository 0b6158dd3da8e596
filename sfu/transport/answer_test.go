package transport

import (
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

func sampleAnswer() Answer {
	return Answer{
		ID: 1, Version: 2, Bundle: true,
		Local: Local{
			Ufrag: "uuuu", Pwd: "pppppppppppppppppppppp", Fingerprint: Fingerprint{"sha-256", sum(32)},
			Candidates: []string{"candidate:1 1 udp 1 192.0.2.1 9 typ host"},
		},
		Sections: []Section{
			{Kind: "application", MID: "0", Rejected: true, Proto: "UDP/DTLS/SCTP", Codec: Codec{PayloadType: 0}},
			{
				Kind: "video", MID: "1", ReducedSize: true, SSRC: 5, RTXSSRC: 6, CNAME: "c", Stream: "s", Track: "t",
				Codec: Codec{
					PayloadType: 102, Name: "H264", ClockRate: 90000, RTX: 103, Fmtp: "packetization-mode=1;profile-level-id=42e01f",
					Feedback: []string{"goog-remb", "transport-cc", "ccm fir", "nack pli", "nack"},
				},
			},
			{
				Kind: "audio", MID: "2", SSRC: 7, CNAME: "c", Stream: "s", Track: "u",
				Codec: Codec{PayloadType: 111, Name: "opus", ClockRate: 48000, Channels: 2, Fmtp: "minptime=10"},
			},
		},
	}
}

const sampleText = `v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 1 2
a=ice-options:trickle
a=msid-semantic: WMS *
m=application 0 UDP/DTLS/SCTP 0
c=IN IP4 0.0.0.0
a=mid:0
a=inactive
m=video 9 UDP/TLS/RTP/SAVPF 102 103
c=IN IP4 0.0.0.0
a=mid:1
a=ice-ufrag:uuuu
a=ice-pwd:pppppppppppppppppppppp
a=fingerprint:sha-256 FP
a=setup:passive
a=sendonly
a=rtcp-mux
a=rtcp-mux-only
a=rtcp-rsize
a=rtpmap:102 H264/90000
a=fmtp:102 packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=rtcp-fb:102 ccm fir
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=msid:s t
a=ssrc-group:FID 5 6
a=ssrc:5 cname:c
a=ssrc:5 msid:s t
a=ssrc:6 cname:c
a=ssrc:6 msid:s t
a=candidate:1 1 udp 1 192.0.2.1 9 typ host
a=end-of-candidates
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:2
a=ice-ufrag:uuuu
a=ice-pwd:pppppppppppppppppppppp
a=fingerprint:sha-256 FP
a=setup:passive
a=sendonly
a=rtcp-mux
a=rtcp-mux-only
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10
a=msid:s u
a=ssrc:7 cname:c
a=ssrc:7 msid:s u
`

func TestBuildAnswer(t *testing.T) {
	t.Parallel()
	a := sampleAnswer()
	got := strings.Split(string(BuildAnswer(a)), "\r\n")
	want := strings.Split(strings.ReplaceAll(sampleText, "FP", sum(32)), "\n")
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s", strings.Join(got, "\n"))
	}
	if err := new(sdp.SessionDescription).Unmarshal(BuildAnswer(a)); err != nil {
		t.Fatal(err)
	}
	a.Bundle = false
	if strings.Contains(string(BuildAnswer(a)), "BUNDLE") {
		t.Fatal("a group that was not offered")
	}
}
