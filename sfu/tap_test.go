package sfu

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestTap(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	if _, err := s.Tap("m", &testTap{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("tap on nothing: %v", err)
	}
	c := publishCamera(t, s, "m", vp8, opus)
	c.run()
	tap, deaf := &testTap{}, &testTap{refuse: true}
	for _, tp := range []*testTap{tap, deaf} {
		if _, err := s.Tap("m", tp); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "packets", func() bool { return len(tap.packets("video")) > 30 && len(tap.packets("audio")) > 10 })
	continuous(t, tap.packets("video"))
	tap.mu.Lock()
	slices.Sort(tap.tracks)
	if want := []string{"audio audio audio/opus 48000 2", "video video video/VP8 90000 0"}; !slices.Equal(tap.tracks, want) {
		t.Errorf("tracks %q", tap.tracks)
	}
	tap.mu.Unlock()
	if st := s.Stats(); st.Taps != 2 || st.Publishers != 1 {
		t.Errorf("stats %+v", st)
	}
	s.End("m", "over")
	eventually(t, "tap told", func() bool {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		return slices.Equal(tap.detached, []string{"over"})
	})
	for range maxTaps {
		publishTap(t, s)
	}
	if _, err := s.Tap("n", &testTap{}); !errors.Is(err, ErrLimit) {
		t.Errorf("too many taps: %v", err)
	}
}

func publishTap(t *testing.T, s *SFU) {
	t.Helper()
	s.mu.Lock()
	_, err := s.openMedia("n")
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tap("n", &testTap{}); err != nil {
		t.Fatal(err)
	}
}

// TestBlockedSinkDelaysNobody blocks a tap and a viewer on a lane for good: camera and other viewers do not notice.
func TestBlockedSinkDelaysNobody(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.ShardQueue = 256 })
	c := publishCamera(t, s, "m", vp8)
	c.run()
	block := make(chan struct{})
	unblock := sync.OnceFunc(func() { close(block) })
	t.Cleanup(unblock)
	tap := &testTap{block: block}
	detach, err := s.Tap("m", tap)
	if err != nil {
		t.Fatal(err)
	}
	stuck := &tapSink{tap: tap}
	s.mu.Lock()
	lane := s.newLane(false)
	track := s.media["m"].tracks[video]
	d := newDownTrack(track, stream{}, stuck, newSeat())
	f := s.attach(d, lane, func(f *fan) { lane.add(f, d) })
	s.mu.Unlock()
	w := watch(t, s, "m", "v")
	continuous(t, w.await(video, 200))
	eventually(t, "lanes are full", func() bool { st, _ := s.Status("m"); return st.Dropped > 20 })
	if len(tap.packets("video")) != 0 {
		t.Error("the tap did not block")
	}
	unblock()
	s.mu.Lock()
	s.detach(d, f)
	lane.finish(func() {})
	s.mu.Unlock()
	detach()
}

// TestSenderReports follows the camera's NTP mapping to a viewer and to a tap.
func TestSenderReports(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8, opus)
	w := watch(t, s, "m", "v", video, audio)
	tap := &testTap{}
	if _, err := s.Tap("m", tap); err != nil {
		t.Fatal(err)
	}
	stop := c.run()
	w.await(video, 10)
	w.await(audio, 10)
	stop()
	// The camera's clock is two hours off; video was captured half a second after audio.
	at := time.Now().Add(2 * time.Hour)
	var ssrc [kinds]uint32
	for _, sender := range c.pc.GetSenders() {
		k := audio
		if sender.Track().ID() == video.String() {
			k = video
		}
		ssrc[k] = uint32(sender.GetParameters().Encodings[0].SSRC)
	}
	err := c.pc.WriteRTCP([]rtcp.Packet{
		&rtcp.SenderReport{SSRC: ssrc[audio], NTPTime: ntpTime(at), RTPTime: c.ts[audio]},
		&rtcp.SenderReport{SSRC: ssrc[video], NTPTime: ntpTime(at.Add(500 * time.Millisecond)), RTPTime: c.ts[video]},
	})
	if err != nil {
		t.Fatal(err)
	}
	report := func(k kind) *rtcp.SenderReport {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.reports[w.ssrc[k]]
	}
	eventually(t, "reports", func() bool { return report(audio) != nil && report(video) != nil })
	captured := func(k kind, clockRate float64) float64 {
		packets := w.packets(k)
		sr := report(k)
		ticks := int32(packets[len(packets)-1].Timestamp - sr.RTPTime)
		return float64(sr.NTPTime)/(1<<32) + float64(ticks)/clockRate
	}
	if apart := captured(video, 90000) - captured(audio, 48000); apart < 0.499 || apart > 0.501 {
		t.Errorf("video is %v s after audio, want 0.5", apart)
	}
	if off := float64(int64(report(audio).NTPTime-ntpTime(time.Now()))) / (1 << 32); off > 60 || off < -60 {
		t.Errorf("NTP time is not this node's: %v s off", off)
	}
	if sr := report(video); sr.PacketCount == 0 || sr.OctetCount == 0 {
		t.Errorf("report %+v", sr)
	}
	eventually(t, "tap has reports", func() bool {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		return len(tap.sinks["video"].reports) == 1 && len(tap.sinks["audio"].reports) == 1
	})
	packets := tap.packets("video")
	if got := uint32(tap.sinks["video"].reports[0][1]); got != packets[len(packets)-1].Timestamp {
		t.Errorf("tap's report is of %d, last packet %d", got, packets[len(packets)-1].Timestamp)
	}
}
