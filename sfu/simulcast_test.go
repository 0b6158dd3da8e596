package sfu

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/bandwidth"
	"github.com/securecam/securecam/sfu/codec"
)

// encoding is one simulcast layer of a test's camera.
type encoding struct {
	rid           string
	width, height int
	octets        int // of a packet
	on            bool
	track         *webrtc.TrackLocalStaticRTP
	seq, picture  uint16
	ts            uint32
	plis          int
	answered      int
}

// simulcastCamera sends VP8 in several layers, whose pictures and clocks differ.
type simulcastCamera struct {
	t      *testing.T
	pc     *webrtc.PeerConnection
	answer Answer
	ids    struct{ mid, rid, repaired uint8 }
	mu     sync.Mutex // guards layers
	layers []*encoding
}

// publishSimulcast connects a camera that sends these layers, whose order says nothing.
func publishSimulcast(t *testing.T, s *SFU, id string, layers ...*encoding) *simulcastCamera {
	t.Helper()
	c := &simulcastCamera{t: t, layers: layers}
	m := &webrtc.MediaEngine{}
	if err := webrtc.ConfigureSimulcastExtensionHeaders(m); err != nil {
		t.Fatal(err)
	}
	c.pc = newPCOf(t, m, func(*webrtc.SettingEngine) {}, vp8, format(webrtc.MimeTypeRTX, 101, "apt=100"))
	var sender *webrtc.RTPSender
	for i, l := range layers {
		var err error
		l.track, err = webrtc.NewTrackLocalStaticRTP(vp8.RTPCodecCapability, "video", "cam", webrtc.WithRTPStreamID(l.rid))
		if err != nil {
			t.Fatal(err)
		}
		l.seq, l.picture, l.ts, l.answered = uint16(65000+i*200), uint16(100*i), uint32(i)<<30, -1
		if sender == nil {
			if sender, err = c.pc.AddTrack(l.track); err != nil {
				t.Fatal(err)
			}
		} else if err = sender.AddEncoding(l.track); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range layers {
		go readRTCP(simulcastReader{sender, l.rid}, func(p rtcp.Packet) { c.onRTCP(i, p) })
	}
	a, err := s.Publish(t.Context(), id, makeOffer(t, c.pc))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	c.answer = a
	accept(t, c.pc, a)
	for _, e := range sender.GetParameters().HeaderExtensions {
		switch e.URI {
		case uriMID:
			c.ids.mid = uint8(e.ID)
		case uriRID:
			c.ids.rid = uint8(e.ID)
		case uriRepairedRID:
			c.ids.repaired = uint8(e.ID)
		}
	}
	eventually(t, "publisher adopted", func() bool { st, ok := s.Status(id); return ok && st.Publishing })
	return c
}

// simulcastReader reads the RTCP about one layer.
type simulcastReader struct {
	sender *webrtc.RTPSender
	rid    string
}

func (r simulcastReader) Read(b []byte) (int, interceptor.Attributes, error) {
	return r.sender.ReadSimulcast(b, r.rid)
}

func (c *simulcastCamera) onRTCP(i int, p rtcp.Packet) {
	if _, ok := p.(*rtcp.PictureLossIndication); ok {
		c.mu.Lock()
		c.layers[i].plis++
		c.mu.Unlock()
	}
}

// set turns a layer on or off.
func (c *simulcastCamera) set(rid string, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.layers {
		if l.rid == rid {
			l.on, l.answered = on, -1
		}
	}
}

// asked returns how often a layer was asked for a keyframe.
func (c *simulcastCamera) asked(rid string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.layers {
		if l.rid == rid {
			return l.plis
		}
	}
	return 0
}

// frame sends a picture of every layer that is on, in three packets each.
func (c *simulcastCamera) frame() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.layers {
		l.ts += 900
		if !l.on {
			continue
		}
		key := l.plis != l.answered
		l.answered = l.plis
		l.picture = (l.picture + 1) & 0x7fff
		for n := range 3 {
			l.seq++
			p := &rtp.Packet{
				Header:  rtp.Header{Version: 2, Marker: n == 2, SequenceNumber: l.seq, Timestamp: l.ts},
				Payload: l.payload(key, n),
			}
			_ = p.SetExtension(c.ids.mid, []byte("0"))
			_ = p.SetExtension(c.ids.rid, []byte(l.rid))
			if err := l.track.WriteRTP(p); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				c.t.Errorf("camera: %v", err)
			}
		}
	}
}

// payload makes the nth packet of a picture that says how large it is, and which layer's.
func (l *encoding) payload(key bool, n int) []byte {
	p := payload(codec.VP8, key, n, l.picture)
	if key && n == 0 {
		copy(p[8:], []byte{0x9d, 0x01, 0x2a, byte(l.width), byte(l.width >> 8), byte(l.height), byte(l.height >> 8)})
	}
	p = append(p, make([]byte, l.octets)...)
	p[len(p)-1] = l.rid[0]
	return p
}

// run sends pictures until the test ends.
func (c *simulcastCamera) run() {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				c.frame()
			}
		}
	}()
	c.t.Cleanup(func() { close(done); <-ended })
}

// three are layers in no order.
func three() []*encoding {
	return []*encoding{
		{rid: "m", width: 640, height: 360, octets: 250, on: true},
		{rid: "h", width: 1280, height: 720, octets: 900, on: true},
		{rid: "l", width: 320, height: 180, octets: 20, on: true},
	}
}

// sees returns the layer of the viewer's newest picture.
func (w *watcher) sees() string {
	packets := w.packets(video)
	if len(packets) == 0 {
		return ""
	}
	p := packets[len(packets)-1].Payload
	return string(p[len(p)-1])
}

// awaitLayer waits until the viewer gets a layer.
func (w *watcher) awaitLayer(rid string) {
	w.t.Helper()
	eventually(w.t, "layer "+rid, func() bool { return w.sees() == rid })
}

// seamless fails the test unless everything that the viewer got is one stream that it can decode: numbers, times and
// pictures go on, and each change of layer is a keyframe.
func seamless(t *testing.T, w *watcher) (switches int) {
	t.Helper()
	packets := w.packets(video)
	continuous(t, packets)
	last := ""
	var id uint16
	for i, p := range packets {
		rid := string(p.Payload[len(p.Payload)-1])
		info := codec.Inspect(codec.VP8, p.Payload)
		if rid != last && !info.Keyframe {
			t.Fatalf("packet %d: from layer %q to %q without a keyframe", i, last, rid)
		}
		if step := (info.Picture.ID - id) & 0x7fff; i > 0 && (info.Start && step != 1 || !info.Start && step != 0) {
			t.Fatalf("packet %d: picture %d after %d", i, info.Picture.ID, id)
		}
		if rid != last {
			switches++
		}
		last, id = rid, info.Picture.ID
	}
	return switches - 1
}

// between returns a budget that carries one layer and not the other, in bit/s: a busy machine's camera sends less than
// it should. Runs on the shard.
func (d *downTrack) between(rid, above string) int {
	sum := 0
	for _, l := range *d.track.layers.Load() {
		if f := l.facts.Load(); f != nil && (l.rid == rid || l.rid == above) {
			sum += f.rate(maxSpatial-1, maxTemporal-1)
		}
	}
	return sum / 2
}

func prefer(t *testing.T, s *SFU, w *watcher, change func(*Preference)) {
	t.Helper()
	p := NoPreference()
	change(&p)
	if err := s.SetPreference(w.answer.SessionID, p); err != nil {
		t.Fatal(err)
	}
}

// TestSimulcast has a viewer go up and down among a camera's layers by its wish and by its budget, and two others stay
// where they are.
func TestSimulcast(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishSimulcast(t, s, "m", three()...)
	c.run()
	w, best, small := watch(t, s, "m", "v"), watch(t, s, "m", "best"), watch(t, s, "m", "small")
	prefer(t, s, small, func(p *Preference) { p.MaxHeight = 240 })
	w.awaitLayer("h")
	best.awaitLayer("h")
	small.awaitLayer("l")
	for _, step := range []struct {
		rid    string
		change func(*Preference)
	}{
		{"m", func(p *Preference) { p.MaxHeight = 500 }},
		{"h", func(*Preference) {}},
		{"l", func(p *Preference) { p.RID = "l" }},
		{"h", func(p *Preference) { p.RID = "none such" }},
		{"l", func(p *Preference) { p.MaxBitrate = 1 }},
		{"m", func(p *Preference) { p.RID = "m" }},
	} {
		prefer(t, s, w, step.change)
		w.awaitLayer(step.rid)
	}
	n := len(w.packets(video))
	w.await(video, n+30)
	prefer(t, s, w, func(*Preference) {})
	w.awaitLayer("h")

	s.mu.Lock()
	sess := s.sessions[w.answer.SessionID]
	s.mu.Unlock()
	limit := func(budget int, hopeless bool) {
		sh := sess.shard.Load()
		sh.post(func() { sess.seat.limit(budget, bandwidth.Decision{Hopeless: hopeless}) })
	}
	between := func(rid, above string) int {
		return onShard(s, w, func() int { return sess.seat.downs[0].between(rid, above) })
	}
	carrying := func(rid, above string) {
		t.Helper()
		eventually(t, "layer "+rid, func() bool {
			limit(between(rid, above), false)
			return w.sees() == rid
		})
	}
	carrying("l", "m")
	carrying("m", "h")
	limit(0, false)
	w.awaitLayer("h")
	limit(between("l", "m"), true)
	if onShard(s, w, func() bool { d := sess.seat.downs[0]; return d.layer != nil && d.layer.rid == "h" }) {
		t.Error("what the way does not carry goes on")
	}
	w.awaitLayer("l")
	limit(0, false)
	w.awaitLayer("h")
	if got := seamless(t, w); got < 11 {
		t.Errorf("%d switches", got)
	}
	seamless(t, best)
	seamless(t, small)
	small.awaitLayer("l") // on a busy machine it stays away for a moment
}

// TestPause stops and goes on.
func TestPause(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishSimulcast(t, s, "m", three()...)
	c.run()
	w, other := watch(t, s, "m", "v"), watch(t, s, "m", "other")
	w.awaitLayer("h")
	prefer(t, s, w, func(p *Preference) { p.Paused = true })
	n := -1
	eventually(t, "silence", func() bool {
		before := n
		n = len(w.packets(video))
		m := len(other.packets(video))
		other.await(video, m+20)
		return before == n
	})
	prefer(t, s, w, func(*Preference) {})
	w.await(video, n+30)
	w.awaitLayer("h")
	seamless(t, w)
	if err := s.SetPreference(c.answer.SessionID, NoPreference()); !errors.Is(err, ErrNotFound) {
		t.Errorf("preference of a camera: %v", err)
	}
	if err := s.SetPreference(w.answer.SessionID, Preference{MaxHeight: -1}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("bad preference: %v", err)
	}
}

// TestLayersComeAndGo takes the top layer away under a viewer and a tap, and gives it back; one begins late.
func TestLayersComeAndGo(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	layers := three()
	layers[1].on = false
	c := publishSimulcast(t, s, "m", layers...)
	c.run()
	w := watch(t, s, "m", "v")
	tap := &testTap{}
	if _, err := s.Tap("m", tap); err != nil {
		t.Fatal(err)
	}
	taped := func(rid string) func() bool {
		return func() bool {
			got := tap.packets("video")
			return len(got) > 0 && string(got[len(got)-1].Payload[len(got[len(got)-1].Payload)-1]) == rid
		}
	}
	w.awaitLayer("m")
	c.set("h", true)
	w.awaitLayer("h")
	eventually(t, "tap has layer h", taped("h"))
	c.set("h", false)
	w.awaitLayer("m")
	eventually(t, "tap has layer m", taped("m"))
	c.set("m", false)
	w.awaitLayer("l")
	c.set("h", true)
	w.awaitLayer("h")
	eventually(t, "tap has layer h", taped("h"))
	seamless(t, w)
	continuous(t, tap.packets("video"))
}

// TestKeyframesOnlyOfWhatIsNeeded holds that a switch asks one layer for a keyframe.
func TestKeyframesOnlyOfWhatIsNeeded(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishSimulcast(t, s, "m", three()...)
	c.run()
	w := watch(t, s, "m", "v")
	w.awaitLayer("h")
	prefer(t, s, w, func(p *Preference) { p.RID = "l" })
	w.awaitLayer("l")
	m, l := c.asked("m"), c.asked("l")
	eventually(t, "PLI", func() bool { // the first may be answered with a cached keyframe
		if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: w.ssrc[video]}}); err != nil {
			t.Fatal(err)
		}
		return c.asked("l") > l
	})
	if got := c.asked("m"); got != m {
		t.Errorf("layer m was asked for %d keyframes that nobody needs", got-m)
	}
}

// TestTiles has viewers join who want a small picture: they cost the camera no keyframe of the large one, however far
// back that was.
func TestTiles(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishSimulcast(t, s, "m", three()...)
	came := arrivals(s, "m")
	for n := range uint64(300) { // 900 packets: over what is cached
		c.frame()
		eventually(t, "a frame of each layer", func() bool { return came() >= 9*(n+1) })
	}
	c.run()
	small := NoPreference()
	small.MaxHeight = 180
	for range 4 {
		w := watchWishing(t, s, "m", "tile", small, func(*webrtc.SettingEngine) {})
		w.awaitLayer("l")
		if got := seamless(t, w); got != 0 {
			t.Errorf("a tile switched %d times", got)
		}
	}
	for _, rid := range []string{"h", "m"} {
		if n := c.asked(rid); n != 0 {
			t.Errorf("layer %s was asked for %d keyframes", rid, n)
		}
	}
}
