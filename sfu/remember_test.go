package sfu

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// pastOf is how the last session of a viewer, or of cameras for "", ended.
func pastOf(s *SFU, id, viewer string) (SessionStatus, bool) {
	for _, st := range s.Sessions(id, viewer) {
		if st.Viewer == viewer && !st.EndedAt.IsZero() {
			return st, true
		}
	}
	return SessionStatus{}, false
}

// TestRefusedAreRemembered tells a peer without a common format from one whose offer is wrong, whoever finds out.
func TestRefusedAreRemembered(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	camera := string(makeOffer(t, offerPlay(t, []kind{video}, vp8)))
	for _, tt := range []struct{ offer, reason, detail string }{
		{strings.ReplaceAll(strings.ReplaceAll(camera, "recvonly", "sendonly"), "VP8/90000", "H261/90000"), ReasonCodec, "no common video codec"},
		{camera, ReasonRefused, "direction recvonly"},
		{strings.Repeat("x", maxOffer), ReasonRefused, ""},
	} {
		if _, err := s.Publish(t.Context(), "m", []byte(tt.offer)); err == nil {
			t.Fatal("not refused")
		}
		if st, ok := pastOf(s, "m", ""); !ok || st.Role != "publish" || st.Reason != tt.reason || !strings.Contains(st.Detail, tt.detail) ||
			len(st.Detail) > maxDetail {
			t.Errorf("%s: %+v", tt.detail, st)
		}
	}
	publishCamera(t, s, "m", vp8)
	for viewer, tt := range map[string]struct {
		formats        []webrtc.RTPCodecParameters
		kind           kind
		change         func(string) string
		reason, detail string
	}{
		"other codec": {[]webrtc.RTPCodecParameters{format(webrtc.MimeTypeAV1, 45, "")}, video, strings.TrimSpace, ReasonCodec, "video/VP8"},
		"no codec": {
			[]webrtc.RTPCodecParameters{vp8},
			video,
			func(o string) string { return strings.ReplaceAll(o, "VP8/90000", "H261/90000") },
			ReasonCodec, "no common video codec",
		},
		"sound alone": {[]webrtc.RTPCodecParameters{opus}, audio, strings.TrimSpace, ReasonRefused, "nothing of what was offered"},
		"no mux": {
			[]webrtc.RTPCodecParameters{vp8},
			video,
			func(o string) string { return strings.ReplaceAll(o, "a=rtcp-mux\r\n", "") },
			ReasonRefused, "no rtcp-mux",
		},
	} {
		offer := tt.change(string(makeOffer(t, offerPlay(t, []kind{tt.kind}, tt.formats...)))) + "\r\n"
		if _, err := s.Play(t.Context(), "m", viewer, NoPreference(), []byte(offer)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", viewer, err)
		}
		if st, ok := pastOf(s, "m", viewer); !ok || st.Reason != tt.reason || !strings.Contains(st.Detail, tt.detail) {
			t.Errorf("%s: %+v", viewer, st)
		}
	}
}

// TestCounterOfferIsNoConnection: while and after an offer of ours waits for its answer, what counts is why it was made.
func TestCounterOfferIsNoConnection(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	publishCamera(t, s, "m", vp8)
	offer := makeOffer(t, offerPlay(t, []kind{video}, format(webrtc.MimeTypeAV1, 45, "")))
	if _, err := s.Play(t.Context(), "m", "anna", NoPreference(), offer); !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	a, _, err := s.CounterOffer(t.Context(), "m", "anna", NoPreference())
	if err != nil {
		t.Fatal(err)
	}
	unanswered := 0
	for _, st := range s.Sessions("m", "anna") {
		if st.EndedAt.IsZero() && st.Role == "play" && st.Unanswered {
			unanswered++
		}
	}
	if unanswered != 1 {
		t.Errorf("%d offers wait", unanswered)
	}
	if err := s.Close(a.SessionID, "offer_expired"); err != nil {
		t.Fatal(err)
	}
	if st, ok := pastOf(s, "m", "anna"); !ok || st.Reason != ReasonCodec {
		t.Errorf("%+v", st)
	}
}

// TestEachIsRemembered: what others do makes nobody's failure forgotten, and not without end.
func TestEachIsRemembered(t *testing.T) {
	t.Parallel()
	m := &media{}
	m.keep(SessionStatus{Role: "play", Viewer: "anna", Reason: "first"})
	for range 10 * pastSessions {
		m.keep(SessionStatus{Role: "play", Viewer: "bert"})
	}
	if len(m.past) != 2 || m.past[0].Reason != "first" {
		t.Errorf("%+v", m.past)
	}
	m.keep(SessionStatus{Role: "play", Viewer: "anna", Reason: "last"})
	for i := range pastSessions - 1 {
		m.keep(SessionStatus{Role: "play", Viewer: fmt.Sprint(i)})
	}
	if len(m.past) != pastSessions || m.past[0].Reason != "last" {
		t.Errorf("%d are kept, the oldest %+v", len(m.past), m.past[0])
	}
}

// TestStuckShardIsAskedOnce: whoever cannot tell is named, keeps nobody waiting twice, and is given no more to do.
func TestStuckShardIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.Shards = 1 })
	cam := publishCamera(t, s, "m", vp8, opus)
	cam.run()
	for _, name := range []string{"anna", "bert", "carl"} {
		watch(t, s, "m", name, video).await(video, 1)
	}
	release, shards := make(chan struct{}), map[*shard]bool{} // more than one if somebody came by TCP
	s.mu.Lock()
	for v := range s.media["m"].viewers {
		shards[v.shard.Load()] = true
	}
	s.mu.Unlock()
	for sh := range shards {
		blocked := make(chan struct{})
		sh.post(func() { close(blocked); <-release })
		<-blocked
	}
	stuck := func(viewer string) (n int) {
		for _, st := range s.Sessions("m", viewer) {
			if st.Stuck {
				n++
			}
		}
		return n
	}
	if n := stuck(""); n != 3 {
		t.Errorf("%d viewers cannot tell", n)
	}
	waiting := func() (n int) {
		for sh := range shards {
			sh.mu.Lock()
			n += len(sh.actions)
			sh.mu.Unlock()
		}
		return n
	}
	before := waiting()
	if n := stuck("anna"); n != 1 {
		t.Errorf("%d viewers named anna cannot tell", n)
	}
	if n := waiting(); n != before {
		t.Errorf("%d things wait for the shard, after %d", n, before)
	}
	close(release)
	eventually(t, "all can tell again", func() bool { return stuck("") == 0 })
	eventually(t, "figures", func() bool {
		for _, st := range s.Sessions("m", "") {
			if st.Bitrate == 0 || len(st.Tracks) == 0 || st.Tracks[0].Bytes == 0 {
				return false
			}
		}
		return true
	})
}

// TestSurvey sums up what cameras are told and viewers tell, each report once.
func TestSurvey(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", vp8)
	cam.run()
	w := watch(t, s, "m", "anna", video)
	ssrc := w.await(video, 1)[0].SSRC
	quality := func(of func(Quality) Distribution) (n uint64, sum float64) {
		_, counts, sum := of(s.Stats().Quality).Histogram()
		for _, c := range counts {
			n += c
		}
		return n, sum
	}
	eventually(t, "reports to the camera", func() bool {
		s.takeSurvey()
		loss, _ := quality(func(q Quality) Distribution { return q.CameraLoss })
		jitter, sum := quality(func(q Quality) Distribution { return q.CameraJitter })
		return loss > 0 && jitter == loss && sum > 0
	})
	report := &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: ssrc, FractionLost: 64, Jitter: 900}}}
	if err := w.pc.WriteRTCP([]rtcp.Packet{report}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one report of the viewer", func() bool {
		s.takeSurvey()
		s.takeSurvey()
		n, loss := quality(func(q Quality) Distribution { return q.ViewerLoss })
		_, jitter := quality(func(q Quality) Distribution { return q.ViewerJitter })
		return n == 1 && loss == .25 && jitter == .01
	})
}
