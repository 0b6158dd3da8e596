package sfu

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/rewrite"
)

// listener is a camera that also hears.
type listener struct {
	pc    *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP
	mu    sync.Mutex
	heard []*rtp.Packet
}

func publishListener(t *testing.T, s *SFU, id string) *listener {
	t.Helper()
	l := &listener{pc: newPC(t, opus)}
	track, err := webrtc.NewTrackLocalStaticRTP(opus.RTPCodecCapability, "audio", "cam")
	if err != nil {
		t.Fatal(err)
	}
	l.track = track
	if _, err := l.pc.AddTrack(track); err != nil { // sendrecv
		t.Fatal(err)
	}
	l.pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.heard = append(l.heard, p)
			l.mu.Unlock()
		}
	})
	a, err := s.PublishTwoWay(t.Context(), id, makeOffer(t, l.pc))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l.pc, a)
	eventually(t, "the camera listens", func() bool {
		st, _ := s.Status(id)
		return st.Talkback
	})
	return l
}

func (l *listener) packets() []*rtp.Packet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*rtp.Packet(nil), l.heard...)
}

// talker is a viewer with a microphone.
type talker struct {
	t      *testing.T
	track  *webrtc.TrackLocalStaticRTP
	answer Answer
	seq    uint16
	time   uint32
}

func joinTalker(t *testing.T, s *SFU, id, viewer string) *talker {
	t.Helper()
	pc := newPC(t, opus)
	track, err := webrtc.NewTrackLocalStaticRTP(opus.RTPCodecCapability, "mic", "viewer")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	a, err := s.Play(t.Context(), id, viewer, NoPreference(), makeOffer(t, pc))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, pc, a)
	eventually(t, "viewer "+viewer, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		sess := s.sessions[a.SessionID]
		return sess != nil && sess.shard.Load() != nil
	})
	return &talker{t: t, track: track, answer: a, seq: 65530}
}

func (k *talker) say(payload ...byte) {
	k.t.Helper()
	k.seq++
	k.time += 960
	if err := k.track.WriteRTP(&rtp.Packet{
		Header: rtp.Header{Version: 2, SequenceNumber: k.seq, Timestamp: k.time}, Payload: payload,
	}); err != nil {
		k.t.Error(err)
	}
}

func TestTalkback(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishListener(t, s, "m")
	anna, ben := joinTalker(t, s, "m", "anna"), joinTalker(t, s, "m", "ben")
	for _, a := range []Answer{anna.answer, ben.answer} {
		if !strings.Contains(string(a.SDP), "a=sendrecv") {
			t.Fatalf("the viewer is not heard:\n%s", a.SDP)
		}
	}

	eventually(t, "anna is heard", func() bool {
		anna.say(0x78, 'a', 'a', 'a')
		return len(cam.packets()) >= 5
	})
	if st, _ := s.Status("m"); st.Talker != "anna" {
		t.Fatalf("%q talks", st.Talker)
	}
	eventually(t, "ben is refused", func() bool {
		anna.say(0x78, 'a', 'a', 'a') // she has the floor as long as she talks
		ben.say(0x78, 'b', 'b', 'b')
		st, _ := s.Status("m")
		return st.TalkRefused >= 3
	})
	for _, p := range cam.packets() {
		if p.Payload[1] != 'a' {
			t.Fatal("two talk at a time")
		}
	}
	eventually(t, "ben has his turn", func() bool {
		ben.say(0x78, 'b', 'b', 'b')
		heard := cam.packets()
		return heard[len(heard)-1].Payload[1] == 'b'
	})
	heard := cam.packets()
	continuous(t, heard)
	turns := 0
	for _, p := range heard {
		if p.Marker {
			turns++
		}
	}
	if turns != 2 {
		t.Errorf("%d talkspurts are marked, want 2", turns)
	}
}

// TestTalkbackIsAsked: a camera hears only if it says so twice, by its section and by how it publishes.
func TestTalkbackIsAsked(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", opus) // whose section is sendrecv
	if !strings.Contains(string(cam.answer.SDP), "a=recvonly") {
		t.Errorf("RFC 9725, section 4.2, wants recvonly:\n%s", cam.answer.SDP)
	}
	k := joinTalker(t, s, "m", "anna")
	if !strings.Contains(string(k.answer.SDP), "a=sendonly") {
		t.Errorf("nobody would hear the viewer:\n%s", k.answer.SDP)
	}
}

// TestTalkbackAfterTakeover talks to the camera that came later.
func TestTalkbackAfterTakeover(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	first := publishListener(t, s, "m")
	anna := joinTalker(t, s, "m", "anna")
	eventually(t, "the first hears", func() bool {
		anna.say(0x78, 1, 2, 3)
		return len(first.packets()) > 0
	})
	second := publishListener(t, s, "m")
	eventually(t, "the second hears", func() bool {
		anna.say(0x78, 1, 2, 3)
		return len(second.packets()) > 0
	})
	continuous(t, second.packets())
}

// TestFloor: whatever comes from whom and when, one viewer talks at a time, and only pauses change that.
func TestFloor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		talkers := []*session{{viewer: "a"}, {viewer: "b"}, {viewer: "c"}}
		i := &intercom{counters: &counters{}, camera: &speaker{mapper: rewrite.New(0, 0)}}
		now, last := int64(time.Hour), int64(0)
		var holder *session
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			now += int64(rapid.IntRange(0, 700).Draw(t, "ms")) * int64(time.Millisecond)
			who := talkers[rapid.IntRange(0, 2).Draw(t, "who")]
			size := rapid.IntRange(1, 6).Draw(t, "size")
			begins, ok := i.floor(who, 1, size, now)
			switch {
			case !ok:
				continue
			case who != holder && holder != nil && now-last <= int64(talkPause):
				t.Fatalf("%s interrupts %s", who.viewer, holder.viewer)
			case who != holder && size <= silentPayload:
				t.Fatal("silence takes the floor")
			case begins != (who != holder):
				t.Fatalf("begins: %v", begins)
			}
			holder = who
			if size > silentPayload {
				last = now
			}
		}
	})
}
