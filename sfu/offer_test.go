package sfu

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/transport"
)

func offerFile(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\n", "\r\n")
}

// TestHostileOffers holds that what cannot be served is refused with the right error, before and in Publish and Play.
func TestHostileOffers(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) {
		// The camera sends nothing, and may know before the server that it is connected.
		c.PublisherWait, c.ConnectTimeout, c.PublisherTimeout = patience, 4*patience, 4*patience
	})
	publishCamera(t, s, "m", vp8, opus)
	whip, whep := offerFile(t, "chrome-whip.sdp"), offerFile(t, "chrome-whep.sdp")
	audioPart := whip[strings.Index(whip, "m=audio"):strings.Index(whip, "m=video")]
	without := func(s, prefix string) string {
		var b strings.Builder
		for line := range strings.Lines(s) {
			if !strings.HasPrefix(line, prefix) {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	unknown := strings.NewReplacer("VP8", "H265", "VP9", "H266", "H264", "H263", "AV1", "AV2")
	tests := []struct {
		name  string
		play  bool
		offer string
		want  error
	}{
		{"good publish", false, whip, nil},
		{"good play", true, whep, nil},
		{"sendrecv publish", false, strings.ReplaceAll(whip, "sendonly", "sendrecv"), nil},
		{"sendrecv play", true, strings.ReplaceAll(whep, "recvonly", "sendrecv"), nil},
		{"active", false, strings.ReplaceAll(whip, "actpass", "active"), nil},
		{"audio only", false, without(whip[:strings.Index(whip, "m=video")], "a=group"), nil},
		{"format named twice", false, strings.Replace(whip, "SAVPF 111", "SAVPF 111 111", 1), ErrUnsupported},
		{"formats without end", false, strings.Replace(whip, "SAVPF 111", "SAVPF 111"+strings.Repeat(" 96 97", 4000), 1), ErrUnsupported},
		{"fingerprint of nothing", false, strings.ReplaceAll(whip, "a=fingerprint:sha-256 ", "a=fingerprint:sha-256 zz:"), ErrBadOffer},
		{"fingerprint of a broken hash", false, strings.ReplaceAll(whip, "a=fingerprint:sha-256", "a=fingerprint:md5"), ErrBadOffer},
		{"empty", false, "", ErrBadOffer},
		{"not SDP", false, "{\"sdp\":1}", ErrBadOffer},
		{"too large", false, whip + strings.Repeat("a=x\r\n", maxOffer/5), ErrBadOffer},
		{"no media", false, whip[:strings.Index(whip, "m=audio")], ErrBadOffer},
		{"no ufrag", false, without(whip, "a=ice-ufrag"), ErrBadOffer},
		{"short ufrag", false, strings.ReplaceAll(whip, "a=ice-ufrag:", "a=ice-ufrag:\r\na=was:"), ErrBadOffer},
		{"hostile ufrag", false, strings.ReplaceAll(whip, "a=ice-ufrag:", "a=ice-ufrag:a:b c"), ErrBadOffer},
		{"no pwd", false, without(whip, "a=ice-pwd"), ErrBadOffer},
		{"no fingerprint", false, without(whip, "a=fingerprint"), ErrBadOffer},
		{"empty fingerprint", false, strings.ReplaceAll(whip, "a=fingerprint:sha-256 ", "a=fingerprint:sha-256\r\na=was:"), ErrBadOffer},
		{"no setup", false, without(whip, "a=setup"), ErrBadOffer},
		{"passive", false, strings.ReplaceAll(whip, "actpass", "passive"), ErrUnsupported},
		{"no mid", false, without(whip, "a=mid"), ErrBadOffer},
		{"no rtcp-mux", false, without(whip, "a=rtcp-mux"), ErrUnsupported},
		{"not bundled", false, without(whip, "a=group"), ErrUnsupported},
		{"same mid", false, strings.ReplaceAll(whip, "a=mid:1", "a=mid:0"), ErrUnsupported},
		{"publisher receives", false, strings.ReplaceAll(whip, "sendonly", "recvonly"), ErrUnsupported},
		{"publisher inactive", false, strings.ReplaceAll(whip, "sendonly", "inactive"), ErrUnsupported},
		{"player sends", true, strings.ReplaceAll(whep, "recvonly", "sendonly"), ErrUnsupported},
		{"player inactive", true, strings.ReplaceAll(whep, "recvonly", "inactive"), ErrUnsupported},
		{"two audio", false, whip[:strings.Index(whip, "m=video")] + strings.ReplaceAll(audioPart, "a=mid:0", "a=mid:1"), ErrUnsupported},
		{"hundred audio", false, whip + strings.Repeat(audioPart, 30), ErrUnsupported},
		{"data channel", false, strings.ReplaceAll(whip, "m=audio", "m=application"), ErrUnsupported},
		{"plain RTP", false, strings.ReplaceAll(whip, "UDP/TLS/RTP/SAVPF", "RTP/AVP"), ErrUnsupported},
		{"rejected section", false, strings.ReplaceAll(whip, "m=audio 9", "m=audio 0"), ErrUnsupported},
		{"no common video codec", false, unknown.Replace(whip), ErrUnsupported},
		{"no common audio codec", false, strings.ReplaceAll(whip, "opus", "speex"), ErrUnsupported},
		{"camera's codec not offered", true, strings.ReplaceAll(whep, "VP8", "H263"), ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { // not in parallel: others' turns may outlast the camera
			var a Answer
			var err error
			if tt.play {
				a, err = s.Play(t.Context(), "m", "v", NoPreference(), []byte(tt.offer))
			} else {
				a, err = s.Publish(t.Context(), "other", []byte(tt.offer))
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			sdp := string(a.SDP)
			video := strings.Contains(tt.offer, "m=video")
			if got := strings.Contains(sdp, "a=simulcast:recv h;l\r\n"); got != (video && !tt.play) {
				t.Errorf("simulcast in the answer: %t\n%s", got, sdp)
			}
			if !strings.Contains(sdp, "a=setup:passive") || !strings.Contains(sdp, "a=candidate:") {
				t.Errorf("answer\n%s", sdp)
			}
			if n := strings.Count(sdp, "a=rtcp-mux\r\n"); n != strings.Count(sdp, "m=") {
				t.Errorf("%d rtcp-mux in\n%s", n, sdp)
			}
			if len(a.SessionID) < 22 || !strings.HasPrefix(a.ETag, `"`) || !strings.HasSuffix(a.ETag, `"`) {
				t.Errorf("id %q, etag %q", a.SessionID, a.ETag)
			}
			if err := s.Close(a.SessionID, "done"); err != nil && !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
	}
}

// TestPlayWithoutAudio answers an audio section that the camera has nothing for without losing the video.
func TestPlayWithoutAudio(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	c.run()
	w := watch(t, s, "m", "v", audio, video)
	w.await(video, 10)
	sdp := string(w.answer.SDP)
	if !strings.Contains(sdp, "a=inactive") || !strings.Contains(sdp, "a=sendonly") {
		t.Errorf("answer\n%s", sdp)
	}
	_, err := s.Play(t.Context(), "m", "v", NoPreference(), makeOffer(t, offerPlay(t, []kind{audio}, opus)))
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("audio only: %v", err)
	}
}

// TestMatch chooses among a viewer's formats.
func TestMatch(t *testing.T) {
	t.Parallel()
	h264 := func(pt uint8, fmtp string) spec {
		return spec{kind: video, mimeType: webrtc.MimeTypeH264, clockRate: 90000, fmtp: fmtp, payloadType: pt}
	}
	vp9 := func(pt uint8, fmtp string) spec {
		return spec{kind: video, mimeType: webrtc.MimeTypeVP9, clockRate: 90000, fmtp: fmtp, payloadType: pt}
	}
	const cb1, cb0 = "profile-level-id=42e01f;packetization-mode=1", "profile-level-id=42e01f;packetization-mode=0"
	const main1, high1 = "profile-level-id=4d001f;packetization-mode=1", "packetization-mode=1; profile-level-id=640c1f"
	tests := []struct {
		name    string
		camera  spec
		offered []spec
		want    uint8 // 0 for none
	}{
		{"same profile and mode", h264(9, cb1), []spec{h264(1, cb0), h264(2, main1), h264(3, cb1)}, 3},
		{"other level", h264(9, "profile-level-id=42c033;packetization-mode=1"), []spec{h264(3, cb1)}, 3},
		{"greater profile will do", h264(9, cb1), []spec{h264(1, cb0), h264(2, high1)}, 2},
		{"smaller profile will not", h264(9, high1), []spec{h264(1, cb1), h264(2, main1)}, 0},
		{"mode 0 into mode 1", h264(9, cb0), []spec{h264(1, cb1)}, 1},
		{"mode 1 not into mode 0", h264(9, cb1), []spec{h264(1, cb0)}, 0},
		{"unknown profile", h264(9, "profile-level-id=7a001f;packetization-mode=1"), []spec{h264(1, high1)}, 0},
		{"broken profile", h264(9, "profile-level-id=zz;packetization-mode=1"), []spec{h264(1, high1)}, 0},
		{"no parameters", h264(9, ""), []spec{h264(1, cb0)}, 1},
		{"vp9 profile", vp9(9, ""), []spec{vp9(1, "profile-id=2"), vp9(2, "profile-id=0")}, 2},
		{"vp9 other profile", vp9(9, "profile-id=2"), []spec{vp9(2, "profile-id=0")}, 0},
		{"other codec", vp9(9, ""), []spec{h264(1, cb1)}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := match(tt.camera, tt.offered)
			if ok != (tt.want != 0) || got.payloadType != tt.want {
				t.Errorf("got %d, %t; want %d", got.payloadType, ok, tt.want)
			}
		})
	}
}

// FuzzOffer holds that no offer makes the check panic or fail without a name, and that the answer to what passes is SDP
// with one format a section. Offers are long: run it with -fuzzminimizetime=10x, or minimizing takes all the time.
func FuzzOffer(f *testing.F) {
	f.Add(offerFile(f, "chrome-whip.sdp"), false)
	f.Add(offerFile(f, "chrome-whep.sdp"), true)
	f.Fuzz(func(t *testing.T, raw string, asPlayer bool) {
		r := publish
		if asPlayer {
			r = play
		}
		o, err := parseOffer([]byte(raw), r)
		if err != nil {
			if !errors.Is(err, ErrBadOffer) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		if n := len(o.remote(0).Candidates); n > maxCandidates {
			t.Fatalf("%d candidates", n)
		}
		answer := transport.Answer{Bundle: o.bundled}
		for _, sec := range o.sections {
			if asPlayer {
				answer.Sections = append(answer.Sections, sec.accept(newViewerTrack(newUpTrack(sec.specs[0], &counters{}), sec.specs[0], "c")))
			} else {
				answer.Sections = append(answer.Sections, sec.receive(sec.specs[0], &simulcast{}))
			}
		}
		text := transport.BuildAnswer(answer)
		var parsed sdp.SessionDescription
		if err := parsed.Unmarshal(text); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		for i, m := range parsed.MediaDescriptions {
			if n := len(specsOf(o.sections[i].kind, m)); n != 1 {
				t.Fatalf("%d formats in\n%s", n, text)
			}
		}
	})
}

// TestMutatedOffers sends broken copies of real offers all the way through pion: none may panic, and refused or not,
// none may leave anything (the leak check of TestMain sees to that).
func TestMutatedOffers(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	publishCamera(t, s, "m", vp8, opus)
	whip, whep := []byte(offerFile(t, "chrome-whip.sdp")), []byte(offerFile(t, "chrome-whep.sdp"))
	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for i := range 600 {
		var a Answer
		var err error
		if i%2 == 0 {
			a, err = s.Publish(t.Context(), "other", mutated(random, whip))
		} else {
			a, err = s.Play(t.Context(), "m", "v", NoPreference(), mutated(random, whep))
		}
		if err == nil {
			accepted++
			err = s.Close(a.SessionID, "done")
		}
		if err != nil && !errors.Is(err, ErrBadOffer) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("unnamed error: %v", err)
		}
	}
	if accepted == 0 || accepted == 600 {
		t.Errorf("%d of 600 accepted: mutations are too hard or too soft", accepted)
	}
	if st := s.Stats(); st.Viewers != 0 {
		t.Errorf("%d viewers left", st.Viewers)
	}
}

// mutated changes, cuts out or doubles some bytes.
func mutated(random *rand.Rand, sdp []byte) []byte {
	b := slices.Clone(sdp)
	for range 1 + random.IntN(4) {
		at, n := random.IntN(len(b)-30), random.IntN(20)
		switch random.IntN(3) {
		case 0:
			b[at] = byte(random.Uint32())
		case 1:
			b = slices.Delete(b, at, at+n)
		case 2:
			b = slices.Insert(b, at, slices.Clone(b[at:at+n])...)
		}
	}
	return b
}
