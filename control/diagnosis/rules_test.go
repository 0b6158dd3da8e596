package diagnosis

import (
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
)

var moment = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// well are the facts of a stream that plays.
func well() Facts {
	began := moment.Add(-time.Minute)
	return Facts{
		Now: moment, CameraOnline: true,
		Stream: store.Stream{ID: "s", Status: store.StreamStreaming, MediaSessionID: "m"},
		Media: &MediaFacts{
			Publishing: true, Layers: []Layer{{Track: "video", Active: true}},
			Sessions: []Session{
				{Role: "publish", Since: began, ConnectedAt: began, Tracks: []Track{{Kind: "video", Packets: 9}, {Kind: "audio", Packets: 9}}},
				{Role: "play", StreamID: "s", Since: began, ConnectedAt: began, Tracks: []Track{{Kind: "video", Packets: 9}}},
				{Role: "play", StreamID: "other", Since: began, EndedAt: moment, Failure: "no_path"},
			},
		},
		Report: &Report{FramesDecoded: 100, PacketsReceived: 1000}, ReportedAt: moment,
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	camera := func(f *Facts) *Session { return &f.Media.Sessions[0] }
	viewer := func(f *Facts) *Session { return &f.Media.Sessions[1] }
	begins := func(s *Session, ago time.Duration) { s.Since, s.ConnectedAt = moment.Add(-ago), time.Time{} }
	over := func(s *Session, failure, reason string) { s.EndedAt, s.Failure, s.Reason = moment, failure, reason }
	for code, change := range map[string]func(*Facts){
		"all_well":            func(*Facts) {},
		"camera_offline":      func(f *Facts) { f.Stream.Status, f.CameraOnline = store.StreamRequested, false },
		"camera_not_accepted": func(f *Facts) { f.Stream.Status = store.StreamRequested },
		"stream_ended":        func(f *Facts) { f.Stream.Status, f.Stream.Reason = store.StreamFailed, "camera_unavailable" },
		"media_not_here":      func(f *Facts) { f.Media = nil },
		"camera_connecting":   func(f *Facts) { f.Media.Publishing = false; begins(camera(f), 3*time.Second) },
		"camera_no_path":      func(f *Facts) { f.Media.Publishing = false; over(camera(f), "no_path", "") },
		"camera_handshake":    func(f *Facts) { f.Media.Publishing = false; over(camera(f), "handshake", "") },
		"camera_fingerprint":  func(f *Facts) { f.Media.Publishing = false; over(camera(f), "fingerprint", "") },
		"camera_not_publishing": func(f *Facts) {
			f.Media.Publishing, f.Media.LostAt = false, moment.Add(-5*time.Second)
			over(camera(f), "", "connection_lost")
		},
		"camera_silent":        func(f *Facts) { camera(f).Tracks[0].Packets = 0 },
		"no_keyframe":          func(f *Facts) { camera(f).Tracks[0].Waiting, f.Media.KeyframeRequests = true, 7 },
		"camera_loss":          func(f *Facts) { camera(f).Tracks[0].Loss = 0.2 },
		"viewer_not_connected": func(f *Facts) { f.Media.Sessions = f.Media.Sessions[:1] },
		"viewer_no_path":       func(f *Facts) { over(viewer(f), "no_path", "connect_timeout") },
		"viewer_handshake":     func(f *Facts) { over(viewer(f), "handshake", "") },
		"viewer_fingerprint":   func(f *Facts) { over(viewer(f), "fingerprint", "") },
		"codec_mismatch":       func(f *Facts) { over(viewer(f), "", reasonCodec); viewer(f).Detail = "the camera sends video/AV1" },
		"viewer_refused":       func(f *Facts) { over(viewer(f), "", reasonRefused); viewer(f).Detail = "no rtcp-mux" },
		"viewer_stalled":       func(f *Facts) { viewer(f).Stalled = true },
		"camera_codec":         func(f *Facts) { f.Media.Publishing = false; over(camera(f), "", reasonCodec) },
		"camera_refused":       func(f *Facts) { f.Media.Publishing = false; over(camera(f), "", reasonRefused) },
		"p2p_not_seen":         func(f *Facts) { f.Stream.MediaProvider, f.Media, f.Report = providerP2P, nil, nil },
		"viewer_gone":          func(f *Facts) { over(viewer(f), "", "peer_closed") },
		"viewer_connecting":    func(f *Facts) { begins(viewer(f), 3*time.Second) },
		"viewer_far":           func(f *Facts) { viewer(f).RTTMillis = 900 },
		"no_audio":             func(f *Facts) { viewer(f).Tracks = append(viewer(f).Tracks, Track{Kind: "audio", Rejected: true}) },
		"paused":               func(f *Facts) { viewer(f).Tracks[0].Paused = true },
		"waiting_for_keyframe": func(f *Facts) { viewer(f).Tracks[0].Waiting = true },
		"viewer_loss":          func(f *Facts) { viewer(f).Tracks[0].Loss = 0.1 },
		"playback_blocked":     func(f *Facts) { f.Report.Blocked = true },
		"viewer_hidden":        func(f *Facts) { f.Report.Hidden = true },
		"decoder_stuck":        func(f *Facts) { f.Report.FramesDecoded, f.Undecoded = 0, 1000 },
		"b_frames":             func(f *Facts) { camera(f).Tracks[0].BFrames = true },
		"h264_profile": func(f *Facts) {
			camera(f).Tracks[0].Profile, camera(f).Tracks[0].Agreed, camera(f).Tracks[0].Beyond = "High", "Constrained Baseline", true
		},
		"viewer_narrow": func(f *Facts) {
			f.Media.Layers = []Layer{
				{Track: "video", RID: "l", Active: true, Width: 320, Height: 180, Bitrate: 150_000},
				{Track: "video", RID: "h", Active: true, Width: 1280, Height: 720, Bitrate: 4_000_000},
			}
			viewer(f).Way = &Way{Layer: "l", Estimate: 612_000, Budget: 520_000}
		},
		"freezes": func(f *Facts) { f.Freezes, f.Frozen = 5, 3*time.Second },
	} {
		f := well()
		change(&f)
		got := Diagnose(f)
		if len(got) == 0 || got[0].Code != code {
			t.Errorf("%s: found %+v", code, got)
			continue
		}
		if g := got[0]; g.Message == "" || g.Severity == SeverityError && g.Advice == "" {
			t.Errorf("%s says too little: %+v", code, g)
		}
	}
}

// TestDiagnoseOrder names what explains a missing picture before what merely worsens one.
func TestDiagnoseOrder(t *testing.T) {
	t.Parallel()
	f := well()
	f.Media.Sessions[0].Tracks[0].Loss = 0.5
	f.Media.Sessions[1].Tracks[0].Paused = true
	f.Report.Hidden = true
	var codes []string
	for _, found := range Diagnose(f) {
		codes = append(codes, found.Code)
	}
	if got := strings.Join(codes, " "); got != "paused camera_loss viewer_hidden" {
		t.Errorf("found %s", got)
	}
}

// TestDiagnoseTellsFigures: what was found out is in the words.
func TestDiagnoseTellsFigures(t *testing.T) {
	t.Parallel()
	stuck := func(change func(*Track)) func(*Facts) {
		return func(f *Facts) { f.Report.FramesDecoded, f.Undecoded = 0, 1000; change(&f.Media.Sessions[0].Tracks[0]) }
	}
	for want, change := range map[string]func(*Facts){
		"the camera sends H.264 High, level 4.0.": stuck(func(t *Track) { t.Profile, t.Level = "High", "4.0" }),
		"the camera's H.264 has B-frames.":        stuck(func(t *Track) { t.Profile, t.BFrames = "High", true }),
		"the camera sends AV1.":                   stuck(func(t *Track) { t.MimeType = "video/AV1" }),
		"makes no picture of them.":               stuck(func(*Track) {}),
		"has made no picture of them for 8 s: the camera sends VP8.": func(f *Facts) {
			f.Undecoded, f.StuckFor, f.Media.Sessions[0].Tracks[0].MimeType = 900, 8*time.Second, "video/VP8"
		},
		"carries only about 80 kbit/s": func(f *Facts) {
			f.Media.Sessions[1].Tracks[0].Paused, f.Media.Sessions[1].Way = true, &Way{Paused: true, Estimate: 83_000}
		},
		"carries about 1.2 Mbit/s, so it gets 180 lines of the 3.0 Mbit/s": func(f *Facts) {
			f.Media.Layers = []Layer{
				{Track: "video", RID: "l", Active: true, Width: 180, Height: 320, Bitrate: 100_000},
				{Track: "video", RID: "h", Active: true, Bitrate: 3e6},
			}
			f.Media.Sessions[1].Way = &Way{Layer: "l", Estimate: 1_200_000, Budget: 1_100_000}
		},
	} {
		f := well()
		change(&f)
		if m := Diagnose(f)[0].Message; !strings.Contains(m, want) {
			t.Errorf("%q does not say %q", m, want)
		}
	}
}

// TestTriedTellsWays: who opens a firewall wants to know which ways failed.
func TestTriedTellsWays(t *testing.T) {
	t.Parallel()
	f := well()
	s := &f.Media.Sessions[1]
	s.EndedAt, s.Failure = moment, "no_path"
	s.Pairs = []Pair{{Remote: "host", Protocol: "udp", Address: "192.0.2.7", State: "failed"}}
	if m := Diagnose(f)[0].Message; !strings.Contains(m, "host udp (192.0.2.7): failed") {
		t.Error(m)
	}
	s.Pairs, s.Offered = nil, Candidates{Hidden: 2}
	if m := Diagnose(f)[0].Message; !strings.Contains(m, "2 of them hidden") {
		t.Error(m)
	}
}

// TestDiagnoseCounterOffer: an offer of ours that a viewer without the camera's codec has not taken is no connection.
func TestDiagnoseCounterOffer(t *testing.T) {
	t.Parallel()
	f := well()
	f.Media.Sessions[1].ConnectedAt, f.Media.Sessions[1].Unanswered = time.Time{}, true
	f.Media.Sessions = append(f.Media.Sessions, Session{
		Role: "play", StreamID: "s", EndedAt: moment, Reason: reasonCodec, Detail: "the camera sends video/AV1",
	})
	if g := Diagnose(f)[0]; g.Code != "codec_mismatch" || !strings.Contains(g.Message, "video/AV1") {
		t.Errorf("found %+v", g)
	}
}

// TestDiagnosePeerToPeer: where media goes from device to device, the viewer's word is all there is.
func TestDiagnosePeerToPeer(t *testing.T) {
	t.Parallel()
	for code, change := range map[string]func(*Facts){
		"all_well":         func(*Facts) {},
		"camera_offline":   func(f *Facts) { f.CameraOnline = false },
		"p2p_not_seen":     func(f *Facts) { *f.Report = Report{} },
		"decoder_stuck":    func(f *Facts) { f.Report.FramesDecoded, f.Undecoded = 0, 1000 },
		"playback_blocked": func(f *Facts) { f.Report.Blocked = true },
	} {
		f := well()
		f.Stream.MediaProvider, f.Media = providerP2P, nil
		change(&f)
		if g := Diagnose(f)[0]; g.Code != code {
			t.Errorf("%s: found %+v", code, g)
		}
	}
}

// TestDiagnoseEndlessTry: a player that gives up before the server does, and tries again, is not always just connecting.
func TestDiagnoseEndlessTry(t *testing.T) {
	t.Parallel()
	for want, pairs := range map[string][]Pair{
		"viewer_no_path":   {{Remote: "host", Protocol: "udp", Address: "192.0.2.1", State: "failed"}},
		"viewer_handshake": {{State: "failed"}, {State: "succeeded", Selected: true}},
	} {
		f := well()
		s := &f.Media.Sessions[1]
		s.Since, s.ConnectedAt, s.Pairs = moment.Add(-3001*time.Millisecond), time.Time{}, pairs
		if want == "viewer_handshake" {
			s.ReachedAt = s.Since
		}
		f.Media.Sessions = append(f.Media.Sessions, Session{Role: "play", StreamID: "s", EndedAt: s.Since, Reason: "closed_by_client"})
		g := Diagnose(f)[0]
		if g.Code != want || !strings.Contains(g.Message, "so far") || !strings.Contains(g.Advice, "TURN") {
			t.Errorf("%s: found %+v", want, g)
		}
		s = &f.Media.Sessions[1]
		s.EndedAt, s.Failure = moment, strings.TrimPrefix(want, "viewer_")
		if g := Diagnose(f)[0]; g.Code != want || strings.Contains(g.Message, "so far") {
			t.Errorf("%s: found %+v of one that has ended", want, g)
		}
	}
}

// TestDiagnoseSlowICE: the handshake is given its time from when there is a way for it.
func TestDiagnoseSlowICE(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		began, reached time.Duration // ago
		want           string
	}{
		{10 * time.Second, time.Second, "viewer_connecting"},
		{10 * time.Second, 3001 * time.Millisecond, "viewer_handshake"},
		{2 * time.Second, time.Second, "viewer_connecting"},
	} {
		f := well()
		s := &f.Media.Sessions[1]
		s.Since, s.ReachedAt, s.ConnectedAt = moment.Add(-tt.began), moment.Add(-tt.reached), time.Time{}
		s.Pairs = []Pair{{State: "succeeded", Selected: true}}
		if g := Diagnose(f)[0]; g.Code != tt.want {
			t.Errorf("%v after it began, %v after a way was found: %+v, want %s", tt.began, tt.reached, g, tt.want)
		}
	}
}

// TestDiagnoseUnreachable: what is known against the server's own addresses is in the advice.
func TestDiagnoseUnreachable(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Session){
		"failed":     func(s *Session) { s.EndedAt, s.Failure = moment, "no_path" },
		"connecting": func(s *Session) { s.Since, s.ConnectedAt = moment, time.Time{} },
		"trying":     func(s *Session) { s.ConnectedAt = time.Time{} },
	} {
		f := well()
		f.Media.Unreachable = "Media is offered at private addresses."
		change(&f.Media.Sessions[1])
		if a := Diagnose(f)[0].Advice; !strings.Contains(a, f.Media.Unreachable) {
			t.Errorf("%s: the advice is %q", name, a)
		}
	}
}
