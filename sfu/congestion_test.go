package sfu

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/bench/impair"
	"github.com/securecam/securecam/sfu/codec"
)

// narrow is a proxy in front of an SFU, whose only way it is.
func narrow(t *testing.T, up, down impair.Link) *impair.Proxy {
	t.Helper()
	p, err := impair.Start(impair.Config{Up: up, Down: down, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// newTelling is a viewer that tells of its way as browsers do, and asks for what is lost.
func newTelling(t *testing.T) *watcher {
	t.Helper()
	m := &webrtc.MediaEngine{}
	registry := &interceptor.Registry{}
	congestion, err := twcc.NewSenderInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	again, err := nack.NewGeneratorInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	registry.Add(congestion)
	registry.Add(again)
	if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.TransportCCURI}, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	formats := []webrtc.RTPCodecParameters{
		vp8, format(webrtc.MimeTypeRTX, 97, "apt=96"),
		format(webrtc.MimeTypeVP9, 98, "profile-id=0"), format(webrtc.MimeTypeRTX, 99, "apt=98"),
	}
	for _, i := range []int{0, 2} {
		formats[i].RTCPFeedback = []webrtc.RTCPFeedback{
			{Type: webrtc.TypeRTCPFBTransportCC},
			{Type: webrtc.TypeRTCPFBGoogREMB},
			{Type: webrtc.TypeRTCPFBNACK},
			{Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"},
		}
	}
	return newWatcher(t, newPCWithRegistry(t, m, registry, func(*webrtc.SettingEngine) {}, formats...))
}

// watchThrough connects such a viewer behind a proxy.
func watchThrough(t *testing.T, s *SFU, id string, proxy *impair.Proxy) *watcher {
	t.Helper()
	w := newTelling(t)
	pc := w.pc
	wantPlay(t, pc, []kind{video})
	a, err := s.Play(t.Context(), id, "v", NoPreference(), impair.StripCandidates(makeOffer(t, pc)))
	if err != nil {
		t.Fatalf("play: %v", err)
	}
	answer, server, err := impair.RewriteAnswer(a.SDP, proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	proxy.Aim(server)
	w.answer = a
	accept(t, pc, Answer{SDP: answer})
	return w
}

// wayOf returns what watches the way to a viewer once it does.
func wayOf(t *testing.T, s *SFU, w *watcher) *congestion {
	t.Helper()
	var c *congestion
	eventually(t, "the way is watched", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		sess := s.sessions[w.answer.SessionID]
		if sess == nil || sess.shard.Load() == nil { // not connected yet
			return false
		}
		c = sess.egress.congestion.Load()
		return c != nil
	})
	return c
}

// TestBandwidth has a viewer find the layer that its way carries: a low one, the best after relief, and a low one
// again when the way becomes narrow under it.
func TestBandwidth(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishSimulcast(t, s, "m", three()...) // h takes 2.7 Mbit/s, m 1.1, l 0.6
	c.run()
	proxy := narrow(t, impair.Link{}, impair.Link{Rate: 950_000})
	w := watchThrough(t, s, "m", proxy)
	if !strings.Contains(string(w.answer.SDP), "transport-cc") {
		t.Fatalf("no transport-wide feedback in\n%s", w.answer.SDP)
	}
	way := wayOf(t, s, w)
	eventually(t, "a picture", func() bool { return w.sees() != "" })
	eventually(t, "a probe that failed", func() bool {
		return onShard(s, w, func() bool { st := way.control.Stats(); return st.Probes > st.Passed })
	})
	st, _ := s.Status("m")
	best := st.Layers[len(st.Layers)-1]
	if w.sees() == "h" && best.Bitrate > 950_000 { // on a busy machine the camera is slower than it should be
		t.Errorf("%d bit/s go over 950 kbit/s", best.Bitrate)
	}
	set := func(down impair.Link) {
		t.Helper()
		if err := proxy.Set(impair.Link{}, down); err != nil {
			t.Fatal(err)
		}
	}
	set(impair.Link{})
	w.awaitLayer("h")
	set(impair.Link{Rate: 1_600_000})
	eventually(t, "a lower layer", func() bool { return w.sees() != "h" })
	var told *WayStatus
	for _, st := range s.Sessions("m", "") {
		if st.Role == "play" {
			told = st.Way
		}
	}
	if told == nil || told.Estimate == 0 || told.Budget == 0 || told.Target == 0 || told.Feedbacks == 0 ||
		told.Probes == 0 || told.Padding == 0 {
		t.Errorf("told of the way: %+v", told)
	}
	if st := s.Stats().Congestion; st.Watched != 1 || st.Feedbacks == 0 || st.Probes == 0 || st.Padding == 0 {
		t.Errorf("counted of the node: %+v", st)
	}
	if st := onShard(s, w, way.control.Stats); st.Malformed > 0 || st.Unknown > 0 || st.Feedbacks == 0 {
		t.Errorf("counted %+v", st)
	}
	if err := s.Close(w.answer.SessionID, "enough"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no way is watched any more", func() bool { return s.Stats().Congestion.Watched == 0 })
}

// TestCounterOfferIsWatched has a viewer of three layers that we offer to tell of its way as one that has offered
// itself, and one that takes none of the extensions get along without.
func TestCounterOfferIsWatched(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishSimulcast(t, s, "m", three()...)
	c.run()
	for name, w := range map[string]*watcher{"tells": newTelling(t), "does not": newWatcher(t, newPC(t, allVideo()...))} {
		a, _, err := s.CounterOffer(t.Context(), "m", name, NoPreference())
		if err != nil {
			t.Fatal(err)
		}
		w.answer = a
		if err := s.Accept(t.Context(), a.SessionID, answerTo(t, w, a.SDP)); err != nil {
			t.Fatal(err)
		}
		w.await(video, 20)
		if name != "tells" {
			continue
		}
		w.awaitLayer("h")
		way := wayOf(t, s, w)
		if st := onShard(s, w, way.control.Stats); st.Feedbacks == 0 || st.Malformed > 0 || st.Unknown > 0 {
			t.Errorf("counted %+v", st)
		}
	}
}

// onShard has a viewer's shard find something out.
func onShard[T any](s *SFU, w *watcher, f func() T) T {
	s.mu.Lock()
	sh := s.sessions[w.answer.SessionID].shard.Load()
	s.mu.Unlock()
	out := make(chan T, 1)
	sh.post(func() { out <- f() })
	return <-out
}

// TestNoCongestionControl: what goes to who watches a single layer is not numbered, so that nothing is fed back; but
// could be, should the camera come back with several.
func TestNoCongestionControl(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", vp8)
	defer cam.run()()
	proxy := narrow(t, impair.Link{}, impair.Link{})
	w := watchThrough(t, s, "m", proxy)
	w.await(video, 20)
	if !strings.Contains(string(w.answer.SDP), "transport-cc") {
		t.Errorf("no congestion control could begin:\n%s", w.answer.SDP)
	}
	for _, p := range w.packets(video) {
		if p.Extension {
			t.Fatalf("a header extension: %v", p)
		}
	}
	if st := s.Stats().Congestion; st.Watched != 0 {
		t.Errorf("the way to who watches a single layer is watched: %+v", st)
	}
}

// TestWatchedOnceLayered has a camera of one layer come back with three: the way to who watches it is watched from then
// on, and no more goes over it than it carries.
func TestWatchedOnceLayered(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", vp8)
	stop := cam.run()
	proxy := narrow(t, impair.Link{}, impair.Link{Rate: 950_000})
	w := watchThrough(t, s, "m", proxy)
	w.await(video, 20)
	stop()
	c := publishSimulcast(t, s, "m", three()...) // h takes 2.7 Mbit/s, m 1.1, l 0.6
	c.run()
	way := wayOf(t, s, w)
	eventually(t, "a probe that failed", func() bool {
		return onShard(s, w, func() bool { st := way.control.Stats(); return st.Feedbacks > 0 && st.Probes > st.Passed })
	})
	st, _ := s.Status("m")
	best := st.Layers[len(st.Layers)-1]
	if w.sees() == "h" && best.Bitrate > 950_000 { // on a busy machine the camera is slower than it should be
		t.Errorf("%d bit/s go over 950 kbit/s", best.Bitrate)
	}
	if err := proxy.Set(impair.Link{}, impair.Link{}); err != nil {
		t.Fatal(err)
	}
	w.awaitLayer("h")
}

// spatialCamera sends VP9 in three spatial layers of 0.4, 0.8 and 1.9 Mbit/s.
type spatialCamera struct {
	*camera
	pictures atomic.Int64
}

// run sends pictures until the test ends, a keyframe whenever asked for one.
func (c *spatialCamera) run() {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for answered := -1; ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			asked := c.pliCount()
			c.frame(asked != answered)
			answered = asked
		}
	}()
	c.t.Cleanup(func() { close(done); <-ended })
}

func (c *spatialCamera) frame(key bool) {
	c.ts[video] += 900
	n := c.pictures.Add(1)
	for s, octets := range []int{400, 900, 1100, 1100} {
		head := byte(0xa0) // picture id and layer indices
		if !key {
			head |= vp9Predicted
		}
		if s < 3 {
			head |= 0x08
		}
		if s != 2 {
			head |= 0x04
		}
		p := append([]byte{head, 0x80 | byte(n>>8)&0x7f, byte(n), byte(min(s, 2)) << 1, byte(n)}, make([]byte, octets)...)
		c.send(video, s == 3, binary.BigEndian.AppendUint32(p, uint32(n)))
	}
}

// TestFirstViewerOfSpatialLayers: that one stream holds spatial layers shows only when it has come for a while. Whoever
// waited for the camera gets no more of it than its way carries either.
func TestFirstViewerOfSpatialLayers(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.PublisherWait = patience })
	proxy := narrow(t, impair.Link{}, impair.Link{Rate: 600_000})
	viewer := make(chan *watcher, 1)
	go func() {
		defer close(viewer)
		viewer <- watchThrough(t, s, "m", proxy)
	}()
	c := &spatialCamera{camera: publishCamera(t, s, "m", format(webrtc.MimeTypeVP9, 98, "profile-id=0"))}
	c.run()
	w := <-viewer
	if w == nil {
		return // it has failed
	}
	newest := func(n int) (highest uint8, number int64) {
		got := w.packets(video)
		for _, p := range got[max(len(got)-n, 0):] {
			highest = max(highest, codec.Inspect(codec.VP9, p.Payload).Spatial)
			number = int64(binary.BigEndian.Uint32(p.Payload[len(p.Payload)-4:]))
		}
		return highest, number
	}
	wayOf(t, s, w)
	eventually(t, "the lowest layer alone, and no queue", func() bool {
		highest, number := newest(100)
		return len(w.packets(video)) > 100 && highest == 0 && c.pictures.Load()-number < 50
	})
	if err := proxy.Set(impair.Link{}, impair.Link{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all layers", func() bool { highest, _ := newest(4); return highest == 2 })
}
