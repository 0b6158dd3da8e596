package sfu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// restartOffer makes a PeerConnection begin a new ICE session and returns the fragment that says so.
func restartOffer(t *testing.T, pc *webrtc.PeerConnection) []byte {
	t.Helper()
	offer, err := pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return []byte(iceLines(pc.LocalDescription().SDP))
}

// iceLines are the lines of an SDP that a fragment has.
func iceLines(sdp string) string {
	var out strings.Builder
	sections := 0
	for line := range strings.Lines(sdp) {
		switch {
		case strings.HasPrefix(line, "m="):
			if sections++; sections == 1 {
				out.WriteString(line)
			}
		case sections < 2 && (strings.HasPrefix(line, "a=ice-") || strings.HasPrefix(line, "a=candidate") || strings.HasPrefix(line, "a=mid")):
			out.WriteString(line)
		}
	}
	return out.String()
}

// applyRestart gives the PeerConnection the answer of its session with another ICE session in it.
func applyRestart(t *testing.T, pc *webrtc.PeerConnection, answer, fragment []byte) {
	t.Helper()
	var fresh []string
	for line := range strings.Lines(string(fragment)) {
		if strings.HasPrefix(line, "a=ice-ufrag") || strings.HasPrefix(line, "a=ice-pwd") || strings.HasPrefix(line, "a=candidate") {
			fresh = append(fresh, line)
		}
	}
	var out strings.Builder
	for line := range strings.Lines(string(answer)) {
		switch {
		case strings.HasPrefix(line, "a=ice-ufrag"):
			out.WriteString(strings.Join(fresh, ""))
		case strings.HasPrefix(line, "a=ice-pwd"), strings.HasPrefix(line, "a=candidate"):
		default:
			out.WriteString(line)
		}
	}
	err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: out.String()})
	if err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
}

// TestRestart restarts ICE of a viewer and of its camera while media flows: both connections and all SSRCs stay.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", vp8)
	stop := cam.run()
	defer stop()
	v := watch(t, s, "m", "ada")
	v.await(video, 5)
	for _, side := range []struct {
		name string
		pc   *webrtc.PeerConnection
		a    Answer
	}{{"viewer", v.pc, v.answer}, {"camera", cam.pc, cam.answer}} {
		u, err := s.Update(t.Context(), side.a.SessionID, Update{Any: true, Fragment: restartOffer(t, side.pc)})
		if err != nil {
			t.Fatalf("%s: %v", side.name, err)
		}
		if u.ETag == "" || u.ETag == side.a.ETag || !strings.Contains(string(u.Fragment), "a=candidate:") ||
			!strings.Contains(string(u.Fragment), "a=ice-options:trickle") {
			t.Errorf("%s: %+v", side.name, u)
		}
		before := Update{ETags: []string{side.a.ETag}, Fragment: []byte("a=mid:0\n")}
		if _, err := s.Update(t.Context(), side.a.SessionID, before); !errors.Is(err, ErrStale) {
			t.Errorf("%s: the entity-tag before: %v", side.name, err)
		}
		// The answer was lost: asked again, it is the same.
		again, err := s.Update(t.Context(), side.a.SessionID, Update{Any: true, Fragment: []byte(iceLines(side.pc.LocalDescription().SDP))})
		if err != nil || again.ETag != u.ETag || string(again.Fragment) != string(u.Fragment) {
			t.Errorf("%s: asked again: %+v, %v", side.name, again, err)
		}
		applyRestart(t, side.pc, side.a.SDP, u.Fragment)
		eventually(t, side.name+" connected again", func() bool {
			return side.pc.ICEConnectionState() == webrtc.ICEConnectionStateConnected ||
				side.pc.ICEConnectionState() == webrtc.ICEConnectionStateCompleted
		})
		v.await(video, len(v.packets(video))+20)
	}
	packets := v.packets(video)
	// pion as a client reads each of its addresses by itself, so that packets come out of order when the way changes.
	first := packets[0].SequenceNumber
	slices.SortFunc(packets, func(a, b *rtp.Packet) int {
		return int(int16(a.SequenceNumber-first)) - int(int16(b.SequenceNumber-first))
	})
	for i, p := range packets[1:] { // pion as a client loses what comes while it has no candidates
		if p.SSRC != packets[i].SSRC || int16(p.SequenceNumber-packets[i].SequenceNumber) <= 0 || int32(p.Timestamp-packets[i].Timestamp) < 0 {
			t.Fatalf("packet %d: %v after %v", i+1, p.Header, packets[i].Header)
		}
	}
}

// TestRestartStorm restarts one session from many sides at once: each restart is answered for itself or refused, and the
// session lives on.
func TestRestartStorm(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", vp8)
	var mu sync.Mutex
	etags, refused := map[string]bool{}, 0
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			fragment := fmt.Sprintf("a=ice-ufrag:user%d\r\na=ice-pwd:%s%d\r\n", i, strings.Repeat("p", 22), i)
			u, err := s.Update(t.Context(), cam.answer.SessionID, Update{Any: true, Fragment: []byte(fragment)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ErrTooMany):
				refused++
			case err != nil:
				t.Error(err)
			default:
				etags[u.ETag] = true
			}
		})
	}
	all.Wait()
	if len(etags)+refused != 30 || refused == 0 || len(etags) < restartsAtOnce {
		t.Errorf("%d entity-tags, %d refused", len(etags), refused)
	}
	var u Updated
	eventually(t, "another restart", func() bool {
		var err error
		u, err = s.Update(t.Context(), cam.answer.SessionID, Update{Any: true, Fragment: restartFragment})
		return err == nil
	})
	if u.ETag == "" {
		t.Error("no entity-tag")
	}
}

var restartFragment = []byte("a=ice-ufrag:last\r\na=ice-pwd:" + strings.Repeat("z", 24) + "\r\n")

// TestFailedRestart holds that a restart that nobody follows up ends the session when consent is over, and not before.
func TestFailedRestart(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.PublisherTimeout = time.Second })
	cam := publishCamera(t, s, "m", vp8)
	for _, bad := range []string{"a=ice-ufrag:abc\r\n", "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n", "a=ice-ufrag:abcd\r\n"} {
		if _, err := s.Update(t.Context(), cam.answer.SessionID, Update{Any: true, Fragment: []byte(bad)}); !errors.Is(err, ErrBadOffer) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	same := Update{ETags: []string{cam.answer.ETag}, Fragment: []byte("a=mid:0\n")}
	if _, err := s.Update(t.Context(), cam.answer.SessionID, same); err != nil {
		t.Errorf("after failed restarts: %v", err)
	}
	if _, err := s.Update(t.Context(), cam.answer.SessionID, Update{Any: true, Fragment: restartFragment}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session's end", func() bool {
		_, err := s.Update(t.Context(), cam.answer.SessionID, Update{Any: true, Fragment: []byte("a=mid:0\n")})
		return errors.Is(err, ErrNotFound)
	})
}
