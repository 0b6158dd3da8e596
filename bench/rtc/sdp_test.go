package rtc

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const answer = `v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
a=fingerprint:sha-256 AA:BB
a=setup:passive
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=mid:0
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=rtcp-mux
a=sendonly
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=candidate:1 1 udp 2130706431 192.0.2.7 8090 typ host
a=candidate:1 2 udp 2130706430 192.0.2.7 8091 typ host
a=candidate:2 1 tcp 2130706431 192.0.2.7 8090 typ host tcptype passive
a=candidate:3 1 udp 2130706431 2001:db8::1 8090 typ host
a=candidate:4 1 udp 2130706431 someone.local 8090 typ host
a=candidate:5 1 UDP 2130706431 127.0.0.1 8090 typ host
m=audio 0 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:1
a=inactive
`

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	a, err := ParseAnswer(strings.ReplaceAll(answer, "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if a.Ufrag != "abcd" || a.Fingerprint != "sha-256 AA:BB" || a.Setup != "passive" {
		t.Errorf("the transport is %+v", a)
	}
	want := []Track{{Kind: "video", Codec: "VP8", Payload: 96, RTX: 97}, {Kind: "audio"}}
	if !slices.Equal(a.Tracks, want) {
		t.Errorf("the tracks are %+v, want %+v", a.Tracks, want)
	}
	got, err := a.usable(netip.MustParseAddr("127.0.0.1"))
	if err != nil || len(got) != 2 || got[0].String() != "127.0.0.1:8090" || got[1].String() != "192.0.2.7:8090" {
		t.Errorf("the candidates are %v (%v), want loopback first", got, err)
	}
	a.Candidates = nil
	if _, err := a.usable(netip.Addr{}); err == nil {
		t.Error("no candidate is usable")
	}
	if _, err := ParseAnswer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"); err == nil {
		t.Error("an answer without media was taken")
	}
	_, err = ParseAnswer(strings.Replace(answer, "m=video 9", "m=video 0", 1))
	if err == nil || !strings.Contains(err.Error(), "rejects every media section") {
		t.Errorf("an answer that rejects all: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	c, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	a := &Answer{Fingerprint: "SHA-256 " + strings.ToLower(fingerprintOf(c))}
	if err := a.verify(c.Certificate); err != nil {
		t.Errorf("the right certificate: %v", err)
	}
	if a.verify(other.Certificate) == nil || a.verify(nil) == nil {
		t.Error("a wrong certificate was taken")
	}
	a.Fingerprint = "rot-13 AA"
	if a.verify(c.Certificate) == nil {
		t.Error("an unknown hash was taken")
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(answer)
	f.Fuzz(func(t *testing.T, raw string) {
		if a, err := ParseAnswer(raw); err == nil && (a.Ufrag == "" || len(a.Tracks) == 0) {
			t.Errorf("an answer without transport was taken: %+v", a)
		}
	})
}
