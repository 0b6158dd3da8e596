package sfu

import (
	"errors"
	"slices"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

// TestTakeover replaces the camera under a viewer and a tap: they go on as if nothing had happened.
func TestTakeover(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	first := publishCamera(t, s, "m", vp8, opus)
	stop := first.run()
	w := watch(t, s, "m", "v", video, audio)
	tap := &testTap{}
	detach, err := s.Tap("m", tap)
	if err != nil {
		t.Fatal(err)
	}
	w.await(video, 20)
	eventually(t, "tap has packets", func() bool { return len(tap.packets("video")) > 20 && len(tap.packets("audio")) > 5 })

	second := publishCamera(t, s, "m", format(webrtc.MimeTypeVP8, 120, ""), opus)
	stop()
	before := len(w.packets(video))
	second.picture = 77
	second.seq[video], second.seq[audio] = 1234, 4321
	second.run()
	got := w.await(video, before+60)
	continuous(t, got)
	continuous(t, w.await(audio, 20))
	pictures(t, w)
	eventually(t, "tap goes on", func() bool { return len(tap.packets("video")) > before+60 })
	continuous(t, tap.packets("video"))
	continuous(t, tap.packets("audio"))
	detach()
	n := len(tap.packets("video"))
	w.await(video, len(w.packets(video))+10)
	if len(tap.packets("video")) != n {
		t.Error("tap is called after detach")
	}
	if len(tap.tracks) != 2 || len(tap.detached) != 0 {
		t.Errorf("tracks %v, detached %v", tap.tracks, tap.detached)
	}
	eventually(t, "events", events.has("publisher down m replaced"))
	if err := s.Close(first.answer.SessionID, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("first publisher's session: %v", err)
	}
}

// pictures fails the test unless VP8 picture ids rise by one from frame to frame.
func pictures(t *testing.T, w *watcher) {
	t.Helper()
	last := -1
	packets := w.packets(video)
	first := packets[0].Payload // flags, extension, picture id, tl0picidx
	for i, p := range packets {
		info := codec.Inspect(codec.VP8, p.Payload)
		id := int(info.Picture.ID)
		if last >= 0 && info.Start && id != (last+1)&0x7fff || last >= 0 && !info.Start && id != last {
			t.Fatalf("packet %d: picture %d after %d", i, id, last)
		}
		if info.Picture.TL0 != byte(id)-first[3]+first[4] {
			t.Fatalf("packet %d: tl0picidx %d of picture %d", i, info.Picture.TL0, id)
		}
		last = id
	}
}

func TestTakeoverWithOtherCodec(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	first := publishCamera(t, s, "m", vp8)
	first.run()
	w := watch(t, s, "m", "v")
	w.await(video, 5)
	tap := &testTap{}
	if _, err := s.Tap("m", tap); err != nil {
		t.Fatal(err)
	}
	second := publishCamera(t, s, "m", format(webrtc.MimeTypeH264, 102, h264Fmtp))
	second.run()
	eventually(t, "viewer closed", events.has("viewer down m v codec_changed"))
	eventually(t, "tap told", func() bool {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		return slices.Equal(tap.detached, []string{"codec_changed"})
	})
	again := watch(t, s, "m", "v")
	if got := again.await(video, 10)[0]; got.PayloadType != 104 {
		t.Errorf("payload type %d", got.PayloadType)
	}
}

// TestPublisherComesBack lets the camera reconnect after it was lost.
func TestPublisherComesBack(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	first := publishCamera(t, s, "m", vp8)
	stop := first.run()
	w := watch(t, s, "m", "v")
	w.await(video, 10)
	stop()
	_ = first.pc.Close()
	eventually(t, "publisher lost", func() bool { st, _ := s.Status("m"); return !st.Publishing })
	n := len(w.packets(video))
	second := publishCamera(t, s, "m", vp8)
	second.run()
	continuous(t, w.await(video, n+30))
	pictures(t, w)
}
