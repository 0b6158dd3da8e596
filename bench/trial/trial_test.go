package trial_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/report"
	"github.com/securecam/securecam/bench/trial"
	"github.com/securecam/securecam/bench/whip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is a load that a slow machine with the race detector bears.
func config(s *server) trial.Config {
	return trial.Config{
		WHIP:    whip.Endpoint{URL: s.URL + "/whip/{n}", Token: s.token},
		WHEP:    whip.Endpoint{URL: s.URL + "/whep/{n}", Token: s.token},
		Cameras: 2, Viewers: 4, Duration: time.Second, WarmUp: 200 * time.Millisecond,
		Picture: load.Picture{Codec: load.VP8, Bitrate: 400_000, FPS: 25, GOP: 50}, Pace: load.PaceFrame,
		Verify: 2, Sample: 7, RTCPRate: 5, Poll: time.Millisecond, PID: os.Getpid(),
	}
}

func run(t *testing.T, c trial.Config) report.Result {
	t.Helper()
	r, err := trial.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func untouched(p *rtp.Packet) []*rtp.Packet { return []*rtp.Packet{p} }

func TestFaithfulServer(t *testing.T) {
	t.Parallel()
	for _, codec := range []load.Codec{load.VP8, load.H264} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			c := config(newServer(t, untouched))
			c.Picture.Codec, c.Audio = codec, true
			r := run(t, c)
			d := r.Delivery
			if d.Ratio != 1 || d.WorstViewer != 1 || d.Expected < d.Published || d.Published == 0 || d.BySequence {
				t.Errorf("delivery is %+v, want everything, for each camera's two viewers", d)
			}
			if d.Opened == 0 || d.Forged+d.Corrupt+d.Foreign+d.Unstamped+d.Duplicates > 0 {
				t.Errorf("packets were judged %+v, want all good", d)
			}
			if l := r.Latency; l.Samples == 0 || l.P50 <= 0 || l.P99 < l.P50 || l.Max < l.P999 {
				t.Errorf("latency is %+v", l)
			}
			s := r.Setup
			if s.Connected != 4 || s.Failed+s.NeverAnyPacket+s.EndedByTheServer > 0 || s.FirstPacketP50 <= 0 {
				t.Errorf("set-up is %+v, want 4 viewers with packets", s)
			}
			if r.Server == nil || r.Server.Micros <= 0 || r.Server.RSSAfter <= 0 {
				t.Errorf("the server's usage is %+v", r.Server)
			}
		})
	}
}

// TestCounterOffers watches a server that answers viewers with offers of its own: full ICE, which is then the
// controlling side, and ICE-lite, which never is.
func TestCounterOffers(t *testing.T) {
	t.Parallel()
	for name, lite := range map[string]bool{"full": false, "lite": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, untouched, func(e *webrtc.SettingEngine) { e.SetLite(lite) })
			c := config(s)
			c.WHEP.URL, c.Audio = s.URL+"/counter/{n}", true
			if lite {
				c.Picture.Codec = load.H264
			}
			r := run(t, c)
			if d := r.Delivery; d.Ratio != 1 || d.WorstViewer != 1 || d.Expected < d.Published || d.Published == 0 || d.BySequence ||
				d.Opened == 0 || d.Forged+d.Corrupt+d.Foreign+d.Unstamped+d.Duplicates > 0 {
				t.Errorf("delivery is %+v, want everything, for each camera's two viewers", d)
			}
			if s := r.Setup; s.Connected != 4 || s.Failed+s.NeverAnyPacket+s.EndedByTheServer > 0 {
				t.Errorf("set-up is %+v, want 4 viewers with packets", s)
			}
		})
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	var n atomic.Uint64
	r := run(t, config(newServer(t, func(p *rtp.Packet) []*rtp.Packet {
		if n.Add(1)%10 == 0 {
			return nil
		}
		return untouched(p)
	})))
	if d := r.Delivery; d.Ratio < 0.85 || d.Ratio > 0.95 || d.Corrupt+d.Forged+d.Foreign > 0 {
		t.Errorf("with one packet in ten lost the delivery is %+v", d)
	}
}

func TestRepetitionsAndCorruption(t *testing.T) {
	t.Parallel()
	var n atomic.Uint64
	c := config(newServer(t, func(p *rtp.Packet) []*rtp.Packet {
		switch n.Add(1) % 10 {
		case 3:
			return []*rtp.Packet{p, p}
		case 6:
			broken := p.Clone()
			broken.Payload[len(broken.Payload)-1] ^= 1
			return []*rtp.Packet{broken}
		}
		return untouched(p)
	}))
	c.Verify = c.Viewers
	r := run(t, c)
	if d := r.Delivery; d.Duplicates == 0 || d.Corrupt == 0 || d.Ratio < 0.8 || d.Ratio > 0.95 {
		t.Errorf("with repeated and broken packets the delivery is %+v", d)
	}
}

// TestMixedUpCameras has the server send another camera's packets.
func TestMixedUpCameras(t *testing.T) {
	t.Parallel()
	s := newServer(t, untouched)
	c := config(s)
	c.WHEP.URL = s.URL + "/whep/0"
	r := run(t, c)
	if r.Delivery.Foreign == 0 {
		t.Errorf("the viewers of camera 1 got camera 0, and the delivery is %+v", r.Delivery)
	}
}

// TestRepacketized has servers whose packets are not the camera's: all of them, or those that begin as the camera's do
// and end elsewhere.
func TestRepacketized(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]func(b []byte) []byte{
		"other": func(b []byte) []byte { return append(b[:1:1], bytes.Repeat([]byte{7}, 99)...) },
		"cut":   func(b []byte) []byte { return b[: len(b)-1 : len(b)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(newServer(t, func(p *rtp.Packet) []*rtp.Packet {
				anew := p.Clone()
				anew.Payload = payload(anew.Payload)
				return untouched(anew)
			}))
			d := run(t, c).Delivery
			if !d.BySequence || d.Unstamped == 0 || d.Corrupt > 0 || d.Ratio != 1 || d.Expected < d.Published || d.Published == 0 {
				t.Errorf("with packets of the server's own the delivery is %+v, want everything by sequence numbers", d)
			}
		})
	}
}

// TestRollover has sequence numbers begin anew between the viewers' coming and the measurement: what protects the media
// counts how often that happens (RFC 3711, section 3.3.1), also while nobody looks.
func TestRollover(t *testing.T) {
	t.Parallel()
	var warm atomic.Bool
	var mu sync.Mutex
	next := map[uint32]uint16{}
	c := config(newServer(t, func(p *rtp.Packet) []*rtp.Packet {
		mu.Lock()
		defer mu.Unlock()
		seq, known := next[p.SSRC]
		if !known {
			seq = 60000
		}
		if warm.Load() && seq >= 60000 {
			seq = 0
		}
		next[p.SSRC] = seq + 1
		p.SequenceNumber = seq
		return untouched(p)
	}))
	c.Progress = func(line string) { warm.Store(warm.Load() || line == "warming up") }
	if d := run(t, c).Delivery; d.Ratio != 1 || d.Forged > 0 || d.Opened == 0 || d.BySequence {
		t.Errorf("delivery is %+v, want everything", d)
	}
}

func TestFindMax(t *testing.T) {
	t.Parallel()
	c := config(newServer(t, untouched))
	c.Cameras, c.FindMax, c.Step, c.MaxP99, c.MinRatio = 1, true, 500*time.Millisecond, time.Minute, 0.99
	r := run(t, c)
	if r.Search == nil || r.Search.Held != 4 || len(r.Search.Steps) != 1 {
		t.Errorf("the search found %+v, want the 4 viewers asked for", r.Search)
	}
	c.MaxP99 = 1 // nanosecond
	r = run(t, c)
	if r.Search == nil || r.Search.Held != 0 || r.Search.Limit != "the server" {
		t.Errorf("the search found %+v, want that nothing holds", r.Search)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c := config(newServer(t, untouched))
	c.WHIP.Token = "wrong"
	if _, err := trial.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a wrong token: %v, want 401", err)
	}
	c = config(newServer(t, untouched))
	c.WHEP.Token = "wrong"
	if _, err := trial.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no viewer connected") {
		t.Errorf("with a wrong token of viewers: %v, want that no viewer connected", err)
	}
	for name, change := range map[string]func(*trial.Config){
		"no server":        func(c *trial.Config) { c.WHIP.URL = "" },
		"no camera":        func(c *trial.Config) { c.Cameras = 0 },
		"one room for two": func(c *trial.Config) { c.WHIP.URL = "http://127.0.0.1/whip" },
		"no pictures":      func(c *trial.Config) { c.Picture.FPS = 0 },
		"synthetic AV1":    func(c *trial.Config) { c.Picture.Codec = load.AV1 },
		"four layers":      func(c *trial.Config) { c.Layers = 4 },
		"height of one":    func(c *trial.Config) { c.MaxHeight = 360 },
	} {
		c := config(newServer(t, untouched))
		change(&c)
		if _, err := trial.Run(t.Context(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	c := config(newServer(t, untouched))
	c.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(line string) {
		if strings.Contains(line, "packets/s") {
			cancel()
		}
	}
	if _, err := trial.Run(ctx, c); err == nil {
		t.Error("a cancelled run has no error")
	}
}

// TestFlags runs what `securecam-bench run` can be told, shortly: the load is what was asked for, and all of it arrives.
func TestFlags(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(t *testing.T, c *trial.Config)
		check  func(t *testing.T, r report.Result)
	}{
		"burst":    {func(_ *testing.T, c *trial.Config) { c.Pace = load.PaceBurst }, nil},
		"saturate": {func(_ *testing.T, c *trial.Config) { c.Pace, c.Picture.Even = load.PaceSaturate, true }, nil},
		"gso":      {func(_ *testing.T, c *trial.Config) { c.Pace, c.Picture.Even, c.Joined = load.PaceBurst, true, true }, nil},
		"four packets a frame": {
			func(_ *testing.T, c *trial.Config) {
				c.Pace, c.Picture = load.PaceBurst, load.Picture{Codec: load.VP8, Bitrate: 1_100_000, FPS: 30, Even: true}
			},
			func(t *testing.T, r report.Result) {
				if frames := r.Load.Seconds * 30 * 2; float64(r.Delivery.Published) > 4*frames*1.3 {
					t.Errorf("%d packets in %.1f s of two cameras", r.Delivery.Published, r.Load.Seconds)
				}
			},
		},
		"nack": {
			func(_ *testing.T, c *trial.Config) { c.NACK, c.RTCPRate = true, 20 },
			func(t *testing.T, r report.Result) {
				if r.Generator.Reports == 0 {
					t.Error("no viewer reported")
				}
			},
		},
		"video file": {func(t *testing.T, c *trial.Config) { c.VideoFile = videoFile(t, false) }, bySequence},
		"H.264 file": {
			func(t *testing.T, c *trial.Config) { c.VideoFile, c.Picture.Codec = videoFile(t, true), load.H264 }, bySequence,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(newServer(t, untouched))
			tt.change(t, &c)
			r := run(t, c)
			if d := r.Delivery; d.Ratio != 1 || d.Expected == 0 || d.Forged+d.Corrupt+d.Foreign > 0 {
				t.Errorf("delivery is %+v", d)
			}
			if tt.check != nil {
				tt.check(t, r)
			}
		})
	}
}

func bySequence(t *testing.T, r report.Result) {
	t.Helper()
	if !r.Delivery.BySequence {
		t.Error("a file is judged by stamps")
	}
}

// videoFile writes pictures that nobody could decode, fifty a second.
func videoFile(t *testing.T, h264 bool) string {
	t.Helper()
	b, name := []byte("DKIF\x00\x00\x20\x00VP80\x40\x01\xb4\x00\x32\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "video.ivf"
	if h264 {
		b, name = nil, "video.h264"
	}
	for i := range 100 {
		picture := append([]byte{byte(min(i%10, 1)), 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0}, bytes.Repeat([]byte{byte(i) | 1}, 3000)...)
		if h264 {
			picture[0], picture[1] = 0x41, 0x9a
			if i%10 == 0 {
				b = append(b, 0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 1, 0, 0, 0, 1, 0x68, 0xce, 1)
				picture[0] = 0x65
			}
			b = append(b, 0, 0, 0, 1)
			picture[2] = 1
		} else {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(picture)))
			b = binary.LittleEndian.AppendUint64(b, uint64(i))
		}
		b = append(b, picture...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
