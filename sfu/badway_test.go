package sfu

import (
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/bench/impair"
	"github.com/securecam/securecam/sfu/codec"
)

// repairing makes a client that asks for and answers what is lost, as browsers do.
func repairing(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	m := &webrtc.MediaEngine{}
	for _, f := range []webrtc.RTPCodecParameters{vp8, format(webrtc.MimeTypeRTX, 97, "apt=96")} {
		if err := m.RegisterCodec(f, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	registry := &interceptor.Registry{}
	if err := webrtc.ConfigureNack(m, registry); err != nil {
		t.Fatal(err)
	}
	se := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard}}
	se.SetIncludeLoopbackCandidate(true)
	se.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(se),
		webrtc.WithInterceptorRegistry(registry)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return pc
}

// through sends the media of a peer over a proxy: answer is what the peer is to be told.
func through(t *testing.T, link impair.Link, exchange func(offer []byte) (Answer, error), offer []byte) Answer {
	t.Helper()
	p, err := impair.Start(impair.Config{Up: link, Down: link, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	a, err := exchange(impair.StripCandidates(offer))
	if err != nil {
		t.Fatal(err)
	}
	sdp, server, err := impair.RewriteAnswer(a.SDP, p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	p.Aim(server)
	a.SDP = sdp
	return a
}

// TestBadWays has packets of both sides lost, repeated and mixed up, on real sockets: what the camera sent arrives.
func TestBadWays(t *testing.T) {
	t.Parallel()
	link := impair.Link{Loss: 0.05, Duplicate: 0.03, Reorder: 0.05, Delay: 10 * time.Millisecond}
	s := newSFU(t, func(c *Config) { c.PublisherWait = patience }) // it may hear of its being connected after the camera does
	cam := repairing(t)
	track, err := webrtc.NewTrackLocalStaticRTP(vp8.RTPCodecCapability, "video", "cam")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := cam.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	go drainRTCP(sender)
	accept(t, cam, through(t, link, func(o []byte) (Answer, error) { return s.Publish(t.Context(), "m", o) }, makeOffer(t, cam)))

	viewer := repairing(t)
	wantPlay(t, viewer, []kind{video})
	got := newNumbered()
	viewer.OnTrack(func(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		go drainRTCP(r)
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			got.add(p.Payload)
		}
	})
	play := func(o []byte) (Answer, error) { return s.Play(t.Context(), "m", "v", NoPreference(), o) }
	accept(t, viewer, through(t, link, play, makeOffer(t, viewer)))

	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { sendNumbered(t, track, stop) })
	eventually(t, "a thousand packets", func() bool { return got.count() >= 1000 })
	// What is asked for now is answered while more comes.
	whole := func() bool { return got.missing(500) == 0 }
	eventually(t, "none of the first five hundred is missing", whole)
	close(stop)
	running.Wait()
	st, _ := s.Status("m")
	if st.NACKs == 0 || st.Retransmitted == 0 {
		t.Errorf("nothing was repaired: %+v", st.Counters)
	}
}

// sendNumbered sends frames of one packet, each with its number behind the payload's head, a keyframe now and then.
func sendNumbered(t *testing.T, track *webrtc.TrackLocalStaticRTP, stop <-chan struct{}) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := uint32(0); ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		p := payload(codec.VP8, n%250 == 0, 0, uint16(n)&0x7fff)
		binary.BigEndian.PutUint32(p[len(p)-4:], n)
		err := track.WriteRTP(&rtp.Packet{
			Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(65000 + n), Timestamp: n * 180}, Payload: p,
		})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func drainRTCP(r interface {
	Read(b []byte) (int, interceptor.Attributes, error)
},
) {
	buf := make([]byte, receiveMTU)
	for {
		if _, _, err := r.Read(buf); err != nil {
			return
		}
	}
}

// numbered is what came of sendNumbered.
type numbered struct {
	mu    sync.Mutex
	seen  map[uint32]int
	first uint32
}

func newNumbered() *numbered { return &numbered{seen: map[uint32]int{}, first: 1 << 31} }

func (n *numbered) add(p []byte) {
	if len(p) < 100 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	number := binary.BigEndian.Uint32(p[len(p)-4:])
	n.seen[number]++
	n.first = min(n.first, number)
}

func (n *numbered) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.seen)
}

// missing counts those of the first that did not come.
func (n *numbered) missing(of uint32) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	lost := 0
	for i := range of {
		if n.seen[n.first+i] == 0 {
			lost++
		}
	}
	return lost
}
