package sfu

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pion/webrtc/v4"
)

// line is a peer's data channel.
type line struct {
	t    *testing.T
	dc   *webrtc.DataChannel
	open chan struct{}
	mu   sync.Mutex
	got  []webrtc.DataChannelMessage
}

func openLine(t *testing.T, pc *webrtc.PeerConnection) *line {
	t.Helper()
	return openNamed(t, pc, "app")
}

func openNamed(t *testing.T, pc *webrtc.PeerConnection, label string) *line {
	t.Helper()
	dc, err := pc.CreateDataChannel(label, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{t: t, dc: dc, open: make(chan struct{})}
	dc.OnOpen(func() { close(l.open) })
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		l.mu.Lock()
		l.got = append(l.got, m)
		l.mu.Unlock()
	})
	return l
}

func (l *line) say(text string) {
	l.t.Helper()
	<-l.open
	if err := l.dc.SendText(text); err != nil {
		l.t.Error(err)
	}
}

// await returns the n-th message.
func (l *line) await(n int) string {
	l.t.Helper()
	var m string
	eventually(l.t, "a message", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.got) <= n {
			return false
		}
		m = string(l.got[n].Data)
		return true
	})
	return m
}

// wire connects a camera and viewers with data channels.
func wire(t *testing.T, s *SFU, viewers ...string) (camera *line, lines []*line) {
	t.Helper()
	pc := newPC(t, opus)
	track, err := webrtc.NewTrackLocalStaticRTP(opus.RTPCodecCapability, "audio", "cam")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	camera = openLine(t, pc)
	a, err := s.Publish(t.Context(), "m", makeOffer(t, pc))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, pc, a)
	<-camera.open
	for _, name := range viewers {
		pc := newPC(t, opus)
		l := openLine(t, pc) // its section comes first
		wantPlay(t, pc, []kind{audio})
		a, err := s.Play(t.Context(), "m", name, NoPreference(), makeOffer(t, pc))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(a.SDP), "a=sctp-port:5000") {
			t.Fatalf("no data channels in\n%s", a.SDP)
		}
		accept(t, pc, a)
		<-l.open
		lines = append(lines, l)
	}
	return camera, lines
}

func TestMessages(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	camera, lines := wire(t, s, "anna", "ben")
	anna, ben := lines[0], lines[1]

	anna.say(`{"zoom":2}`)
	var envelope fromViewer
	if err := json.Unmarshal([]byte(camera.await(0)), &envelope); err != nil || envelope.From != "anna" || *envelope.Text != `{"zoom":2}` {
		t.Fatalf("got %+v, %v", envelope, err)
	}
	if err := ben.dc.Send([]byte{0, 1, 255}); err != nil {
		t.Fatal(err)
	}
	if got := camera.await(1); got != `{"from":"ben","binary":"AAH/"}` {
		t.Fatalf("got %s", got)
	}
	camera.say(`{"to":"ben","text":"for ben"}`)
	camera.say(`{"text":"for all"}`)
	camera.say(`{"binary":"AAH/"}`)
	if got := []string{ben.await(0), ben.await(1), ben.await(2)}; got[0] != "for ben" || got[1] != "for all" || got[2] != "\x00\x01\xff" {
		t.Fatalf("ben got %q", got)
	}
	if got := anna.await(0); got != "for all" {
		t.Fatalf("anna got %q", got)
	}
	for _, bad := range []string{"", "no JSON", "{}", `{"text":"a","binary":"AA=="}`, `{"binary":"not base64"}`, "[1]"} {
		camera.say(bad)
	}
	eventually(t, "malformed envelopes are counted", func() bool { return s.Stats().Data.Refused == 6 })
	anna.say("still there")
	if got := camera.await(2); !strings.Contains(got, "still there") {
		t.Fatalf("got %s", got)
	}
}

// TestMessageFlood: a viewer that writes too much is refused, and then sent away; nobody else notices.
func TestMessageFlood(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	camera, lines := wire(t, s, "anna", "mallory")
	<-lines[1].open
	eventually(t, "the flood ends the session", func() bool {
		for range 100 {
			if err := lines[1].dc.SendText("spam"); err != nil {
				break
			}
		}
		return events.has("viewer down m mallory " + ReasonDataFlood)()
	})
	if n := s.Stats().Data.Refused; n < 1000 {
		t.Errorf("%d messages were refused", n)
	}
	lines[0].say("I am here")
	eventually(t, "anna is heard", func() bool {
		camera.mu.Lock()
		defer camera.mu.Unlock()
		for _, m := range camera.got {
			if strings.Contains(string(m.Data), "I am here") {
				return true
			}
		}
		return false
	})
}

// TestMessageTooLong closes the channel that an overlong message came on.
func TestMessageTooLong(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	_, lines := wire(t, s, "anna")
	// Our answer says how long a message may be, so it takes a peer that does not care.
	err := lines[0].dc.SendText(strings.Repeat("x", 17<<10))
	if err == nil {
		eventually(t, "it is refused", func() bool { return s.Stats().Data.Refused > 0 })
	}
	if st, _ := s.Status("m"); st.Viewers["anna"] != 1 {
		t.Error("the session ended, too")
	}
}

// TestWishByDataChannel has a viewer say on a data channel what it wants: it gets that, and the camera does not hear of
// it. What cannot be meant is answered, and the channel goes on.
func TestWishByDataChannel(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) {
		c.ReadWish = func(raw []byte) (Preference, error) {
			p := NoPreference()
			if _, err := fmt.Sscanf(string(raw), "height %d", &p.MaxHeight); err != nil {
				return p, errors.New("what?")
			}
			return p, nil
		}
	})
	c := publishSimulcast(t, s, "m", three()...)
	c.run()
	w := newWatcher(t, newPC(t, append(allVideo(), opus)...))
	wishes, app := openNamed(t, w.pc, qualityLabel), openNamed(t, w.pc, "app")
	wantPlay(t, w.pc, []kind{video})
	a, err := s.Play(t.Context(), "m", "v", NoPreference(), makeOffer(t, w.pc))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, w.pc, a)
	w.awaitLayer("h")
	wishes.say("height 180")
	if got := wishes.await(0); got != `{"status":"taken"}` {
		t.Errorf("answered %s", got)
	}
	w.awaitLayer("l")
	wishes.say("low")
	if got := wishes.await(1); got != `{"reason":"what?","status":"refused"}` {
		t.Errorf("answered %s", got)
	}
	wishes.say("height 0")
	wishes.await(2)
	w.awaitLayer("h")
	before := s.Stats().Data
	app.say("to the camera")
	eventually(t, "what is for the camera goes there", func() bool { return s.Stats().Data.Unheard == before.Unheard+1 })
	if before.Dropped != 0 || before.Unheard != 0 || before.Refused != 0 {
		t.Errorf("wishes went where messages go: %+v", before)
	}
	seamless(t, w)
}
