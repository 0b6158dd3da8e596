package sfu

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// recorderOfEvents is an Observer that writes down what it hears.
type recorderOfEvents struct {
	mu     sync.Mutex
	events []string
}

func (r *recorderOfEvents) add(s ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, strings.Join(s, " "))
}
func (r *recorderOfEvents) PublisherUp(m string)        { r.add("publisher up", m) }
func (r *recorderOfEvents) PublisherDown(m, why string) { r.add("publisher down", m, why) }
func (r *recorderOfEvents) ViewerUp(m, v string)        { r.add("viewer up", m, v) }
func (r *recorderOfEvents) ViewerDown(m, v, why string) { r.add("viewer down", m, v, why) }
func (r *recorderOfEvents) Ended(m, why string)         { r.add("ended", m, why) }
func (r *recorderOfEvents) has(e string) func() bool {
	return func() bool { return slices.Contains(r.all(), e) }
}

func (r *recorderOfEvents) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

var vp8 = format(webrtc.MimeTypeVP8, 96, "")

func observed(r *recorderOfEvents) func(*Config) { return func(c *Config) { c.Observer = r } }

func TestPeersThatLeave(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	c := publishCamera(t, s, "m", vp8)
	stop := c.run()
	a := watch(t, s, "m", "a")
	a.await(video, 5)
	b := watch(t, s, "m", "b")
	b.await(video, 5)

	if err := a.pc.Close(); err != nil { // DTLS close_notify
		t.Fatal(err)
	}
	eventually(t, "viewer a down", events.has("viewer down m a peer_closed"))
	n := len(b.packets(video))
	b.await(video, n+30)
	stop()
	if err := c.pc.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "publisher down", events.has("publisher down m peer_closed"))
	st, ok := s.Status("m")
	if !ok || st.Publishing || st.LostAt.IsZero() || st.Viewers["b"] != 1 {
		t.Errorf("status %+v, %t", st, ok)
	}
	alone := makeOffer(t, offerPlay(t, []kind{video}, allVideo()...))
	if _, err := s.Play(t.Context(), "m", "c", NoPreference(), alone); !errors.Is(err, ErrNoPublisher) {
		t.Errorf("play without a publisher: %v", err)
	}
	s.End("m", "done")
	eventually(t, "ended", events.has("ended m done"))
	want := []string{
		"publisher up m", "viewer up m a", "viewer up m b", "viewer down m a peer_closed",
		"publisher down m peer_closed", "viewer down m b done", "ended m done",
	}
	if got := events.all(); !slices.Equal(got, want) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, ok := s.Status("m"); ok || len(s.MediaSessions()) != 0 {
		t.Error("media session is still there")
	}
	if st := s.Stats(); st.Viewers != 0 || st.PacketsOut == 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestPeersThatVanish kills peers without a word: ICE notices.
func TestPeersThatVanish(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events), func(c *Config) { c.PublisherTimeout, c.ConsentTimeout = time.Second, time.Second })
	c := publishCamera(t, s, "m", vp8)
	stop := c.run()
	w := watch(t, s, "m", "v")
	w.await(video, 5)
	stop()
	// Stopping the ICE transport alone leaves DTLS no way to say goodbye.
	_ = w.pc.SCTP().Transport().ICETransport().Stop()
	eventually(t, "viewer lost", events.has("viewer down m v connection_lost"))
	_ = c.pc.SCTP().Transport().ICETransport().Stop()
	eventually(t, "publisher lost", events.has("publisher down m connection_lost"))
}

func TestCloseByCaller(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	c := publishCamera(t, s, "m", vp8)
	c.run()
	a1, a2, b := watch(t, s, "m", "a"), watch(t, s, "m", "a"), watch(t, s, "m", "b")
	b.await(video, 5)
	if st, _ := s.Status("m"); st.Viewers["a"] != 2 || st.Viewers["b"] != 1 {
		t.Errorf("viewers %v", st.Viewers)
	}
	s.CloseViewer("m", "a", "revoked")
	for _, w := range []*watcher{a1, a2} {
		eventually(t, "viewer sees the end", func() bool {
			return w.pc.ConnectionState() == webrtc.PeerConnectionStateClosed
		})
	}
	if err := s.Close(b.answer.SessionID, "bye"); err != nil {
		t.Error(err)
	}
	if err := s.Close(b.answer.SessionID, "bye"); !errors.Is(err, ErrNotFound) {
		t.Errorf("second close: %v", err)
	}
	eventually(t, "events", events.has("viewer down m b bye"))
	if st, _ := s.Status("m"); len(st.Viewers) != 0 {
		t.Errorf("viewers %v", st.Viewers)
	}
	if err := s.Close(c.answer.SessionID, "deleted"); err != nil {
		t.Error(err)
	}
	eventually(t, "publisher down", events.has("publisher down m deleted"))
	s.CloseViewer("nobody", "a", "revoked")
	s.End("nobody", "why")
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.ConnectTimeout = 50 * time.Millisecond })
	pc := newPC(t, vp8)
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	a, err := s.Publish(t.Context(), "m", makeOffer(t, pc))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "session given up", func() bool {
		_, err := s.Update(t.Context(), a.SessionID, Update{Any: true, Fragment: []byte("a=x\r\n")})
		return errors.Is(err, ErrNotFound)
	})
	if st, ok := s.Status("m"); !ok || st.Publishing || st.LostAt.IsZero() {
		t.Errorf("status %+v, %t", st, ok)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.MaxViewers, c.MaxMediaSessions = 1, 1 })
	publishCamera(t, s, "m", vp8)
	pc := newPC(t, vp8)
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), "other", makeOffer(t, pc)); !errors.Is(err, ErrLimit) {
		t.Errorf("second media session: %v", err)
	}
	w := watch(t, s, "m", "v")
	play := func() error {
		_, err := s.Play(t.Context(), "m", "v", NoPreference(), makeOffer(t, offerPlay(t, []kind{video}, allVideo()...)))
		return err
	}
	if err := play(); !errors.Is(err, ErrLimit) {
		t.Errorf("second viewer: %v", err)
	}
	if err := s.Close(w.answer.SessionID, "bye"); err != nil {
		t.Fatal(err)
	}
	if err := play(); err != nil {
		t.Errorf("after the first left: %v", err)
	}
}

func TestAfterShutdown(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	c := publishCamera(t, s, "m", vp8)
	c.run()
	w := watch(t, s, "m", "v")
	w.await(video, 5)
	tap := &testTap{}
	detach, err := s.Tap("m", tap)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	detach()
	if got := events.all(); got[len(got)-1] != "ended m shutdown" {
		t.Errorf("events %v", got)
	}
	_, err = s.Tap("m", tap)
	if !errors.Is(err, ErrClosed) {
		t.Errorf("tap: %v", err)
	}
	pc := newPC(t, vp8)
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	offer := makeOffer(t, pc)
	if _, err := s.Publish(t.Context(), "m", offer); !errors.Is(err, ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	watching := []byte(strings.ReplaceAll(string(offer), "sendrecv", "recvonly"))
	if _, err := s.Play(t.Context(), "m", "v", NoPreference(), watching); !errors.Is(err, ErrClosed) {
		t.Errorf("play: %v", err)
	}
}

// TestPlayWaitsForPublisher lets the viewer come first.
func TestPlayWaitsForPublisher(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.PublisherWait = patience })
	offer := makeOffer(t, offerPlay(t, []kind{video}, allVideo()...))
	result := make(chan error, 1)
	go func() {
		_, err := s.Play(t.Context(), "m", "v", NoPreference(), offer)
		result <- err
	}()
	publishCamera(t, s, "m", vp8)
	if err := <-result; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Play(ctx, "nobody", "v", NoPreference(), offer); !errors.Is(err, ErrNoPublisher) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPublicIPs(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) {
		c.UDPAddr, c.PublicIPs = ":0", []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	})
	pc := newPC(t, vp8)
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	a, err := s.Publish(t.Context(), "m", makeOffer(t, pc))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" 203.0.113.9 ", " 127.0.0.1 ", "a=end-of-candidates"} { // a viewer beside us needs no router
		if !strings.Contains(string(a.SDP), want) {
			t.Errorf("no %q in\n%s", want, a.SDP)
		}
	}
	addrs := s.Addrs()
	if len(addrs) < 2 || addrs[len(addrs)-1].Addr().String() != "203.0.113.9" || addrs[0].Port() == 0 {
		t.Errorf("addresses %v", addrs)
	}
}

// testTap keeps what it receives.
type testTap struct {
	mu       sync.Mutex
	tracks   []string
	sinks    map[string]*tapSink
	detached []string
	refuse   bool
	block    chan struct{} // if not nil, sinks wait for it
}

type tapSink struct {
	tap     *testTap
	packets []*rtp.Packet
	reports [][2]uint64
}

func (tt *testTap) Track(i TrackInfo) Sink {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.tracks = append(tt.tracks, fmt.Sprint(i.ID, " ", i.Kind, " ", i.MimeType, " ", i.ClockRate, " ", i.Channels))
	if tt.refuse {
		return nil
	}
	if tt.sinks == nil {
		tt.sinks = map[string]*tapSink{}
	}
	tt.sinks[i.Kind] = &tapSink{tap: tt}
	return tt.sinks[i.Kind]
}

func (tt *testTap) Detached(why string) {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.detached = append(tt.detached, why)
}

func (k *tapSink) WriteRTP(h *rtp.Header, p []byte) (int, error) {
	if k.tap.block != nil {
		<-k.tap.block
	}
	k.tap.mu.Lock()
	defer k.tap.mu.Unlock()
	k.packets = append(k.packets, &rtp.Packet{Header: h.Clone(), Payload: append([]byte(nil), p...)})
	return len(p), nil
}

func (k *tapSink) WriteSenderReport(ntp uint64, rtpTime uint32) {
	k.tap.mu.Lock()
	defer k.tap.mu.Unlock()
	k.reports = append(k.reports, [2]uint64{ntp, uint64(rtpTime)})
}

func (tt *testTap) packets(kind string) []*rtp.Packet {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	if tt.sinks[kind] == nil {
		return nil
	}
	return slices.Clone(tt.sinks[kind].packets)
}
