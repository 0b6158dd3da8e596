package main

import (
	"time"

	"github.com/securecam/securecam/control/diagnosis"
	"github.com/securecam/securecam/sfu"
	"github.com/securecam/securecam/store"
)

// onlineWithin says whether a device is connected, or was so lately that it counts.
func onlineWithin(stale time.Duration) func(store.Device) bool {
	return func(d store.Device) bool { return d.Status == store.DeviceOnline && time.Since(d.LastSeenAt) <= stale }
}

// diagnosedSFU is the SFU as whoever asks why there is no picture sees it.
type diagnosedSFU struct{ *sfu.SFU }

func (d diagnosedSFU) Facts(mediaSession, stream string) (diagnosis.MediaFacts, bool) {
	st, ok := d.Status(mediaSession)
	if !ok {
		return diagnosis.MediaFacts{}, false
	}
	f := diagnosis.MediaFacts{
		Publishing: st.Publishing, LostAt: st.LostAt, Keyframes: st.Keyframes, KeyframeRequests: st.KeyframeRequests,
		Retransmitted: st.Retransmitted, LayerSwitches: st.Switches, Unreachable: d.Unreachable(),
		Layers: []diagnosis.Layer{}, Sessions: []diagnosis.Session{}, // never null in JSON
	}
	for _, l := range st.Layers {
		f.Layers = append(f.Layers, diagnosis.Layer{
			Track: l.Track, RID: l.RID, Active: l.Active, Width: l.Width, Height: l.Height, Bitrate: l.Bitrate, FPS: l.FPS,
		})
	}
	for _, s := range d.Sessions(mediaSession, stream) {
		f.Sessions = append(f.Sessions, diagnosedSession(s))
	}
	return f, true
}

// mediaWarnings names what an operator should know of the media port; the log says more.
func mediaWarnings(s *sfu.SFU) func() []string {
	return func() []string {
		if s.Unreachable() == "" {
			return nil
		}
		return []string{"media_unreachable"}
	}
}

func diagnosedSession(s sfu.SessionStatus) diagnosis.Session {
	out := diagnosis.Session{
		Role: s.Role, StreamID: s.Viewer, Since: s.Since, ReachedAt: s.Transport.ReachedAt,
		ConnectedAt: s.ConnectedAt, EndedAt: s.EndedAt, Reason: s.Reason,
		Unanswered: s.Unanswered, Stalled: s.Stuck, Bitrate: s.Bitrate, Detail: s.Detail,
		Failure: s.Transport.Failure, Offered: diagnosis.Candidates(s.Offered), RTTMillis: millis(s.Transport.RTT),
		SRTP: s.Profile, Pairs: []diagnosis.Pair{}, Tracks: []diagnosis.Track{},
	}
	for _, p := range s.Transport.Pairs {
		out.Pairs = append(out.Pairs, diagnosis.Pair{
			Local: p.Local, Remote: p.Remote, Protocol: p.Protocol, Address: p.RemoteAddress, State: p.State, Selected: p.Selected,
		})
	}
	for _, t := range s.Tracks {
		out.Tracks = append(out.Tracks, diagnosis.Track{
			Kind: t.Kind, MimeType: t.MimeType, Fmtp: t.Fmtp, Rejected: t.Rejected, RID: t.RID, Packets: t.Packets,
			Bytes: t.Bytes, Bitrate: t.Bitrate,
			Loss: t.Loss, JitterMillis: millis(t.Jitter), Paused: t.Paused, Waiting: t.Waiting, SilentMillis: millis(t.SilentFor),
			Profile: t.Profile, Level: t.Level, Agreed: t.Agreed, Beyond: t.Beyond, BFrames: t.BFrames,
			NACKs: t.NACKs, Retransmitted: t.Retransmitted, KeyframeRequests: t.KeyframeRequests, LayerSwitches: t.Switches,
		})
	}
	out.Way = diagnosedWay(s)
	return out
}

func diagnosedWay(s sfu.SessionStatus) *diagnosis.Way {
	w := s.Way
	if w == nil {
		return nil
	}
	out := &diagnosis.Way{
		Estimate: w.Estimate, Budget: w.Budget, Target: w.Target, Paused: w.Paused, Probing: w.Probing, Loss: w.Loss, RTTMillis: millis(w.RTT),
		Feedbacks: w.Feedbacks, Overuses: w.Overuses, Silences: w.Silences, Probes: w.Probes, Passed: w.Passed, Padding: w.Padding,
	}
	for _, t := range s.Tracks {
		if t.Kind == "video" {
			out.Layer = t.RID
		}
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
