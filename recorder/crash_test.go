package recorder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securecam/securecam/recorder/webm"
)

// maxLoss is what a recording may lose when its process is killed.
const maxLoss = time.Second

// A process that is killed before, after or in the middle of any write leaves a recording that Recover makes
// whole, and that misses a second at most.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	packets := src.packets()
	whole, _ := recordUntil(t, packets, newMemory())
	var points []int
	for _, at := range append(whole.writes, whole.total) {
		points = append(points, at, at+1, at+25, at+150, at+2000)
	}
	slices.Sort(points)
	seen := map[[32]byte]bool{}
	for _, left := range slices.Compact(points) {
		store := newMemory()
		store.left = left
		o, began := recordUntil(t, packets, store)
		result, err := Recover(t.Context(), store, key, slog.New(slog.DiscardHandler))
		if o == nil || o.committed && err != nil && errors.Is(err, errNone) {
			continue // killed before there was an object, or after it was complete
		}
		if err != nil {
			t.Fatalf("killed after %d bytes: %v", left, err)
		}
		if lost := store.died.Sub(began) - result.Duration; !store.died.IsZero() && lost > maxLoss {
			t.Errorf("killed after %d bytes, at %v: %v are left", left, store.died.Sub(began), result.Duration)
		}
		if result.Empty {
			if store.get(key) != nil {
				t.Fatalf("killed after %d bytes: empty, but still there", left)
			}
			continue
		}
		sum := sha256.Sum256(o.data)
		if seen[sum] {
			continue
		}
		seen[sum] = true
		near(t, "duration", validate(t, o.data).duration, result.Duration, time.Millisecond)
	}
	if len(seen) < 8 {
		t.Errorf("only %d different recordings", len(seen))
	}
}

// recordUntil records packets into store, which may die on the way, and tells when the first one was sent.
func recordUntil(t *testing.T, packets []sent, store *memory) (o *object, began time.Time) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := start(t, "video/VP8", Config{Objects: store}).withAudio(t)
		began = time.Now()
		g.send(packets)
		_, err := g.Close(t.Context())
		if dead := store.left == 0; dead != (err != nil) {
			t.Errorf("dead %t: close says %v", dead, err)
		}
		o = store.get(key)
	})
	return o, began
}

func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	store := newMemory()
	if _, err := Recover(t.Context(), store, key, log); !errors.Is(err, errNone) {
		t.Errorf("no object: %v", err)
	}
	o, err := store.Create(t.Context(), key, "video/webm")
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("not a recording "), 99)
	if _, err := o.Write(text); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(t.Context(), store, key, log); !errors.Is(err, webm.ErrDamaged) || !bytes.Equal(store.get(key).data, text) {
		t.Errorf("text: %v", err)
	}
}

// A store that takes no more ends the recording; what was whole before is kept.
func TestStoreFull(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	var g *rig
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		store.full = 300_000
		g = start(t, src.mime, Config{Objects: store}).withAudio(t)
		g.store = store
		g.send(src.packets())
		if _, err := g.video.WriteRTP(&src.packets()[0].Header, []byte{1}); !errors.Is(err, ErrClosed) {
			t.Errorf("write after failure: %v", err)
		}
		if err := g.Stats().Err; !errors.Is(err, errFull) {
			t.Errorf("stats: %v", err)
		}
		for range 2 {
			result, err := g.Close(t.Context())
			if !errors.Is(err, errFull) || result.Size == 0 || result.Size != store.get(key).Size() {
				t.Errorf("close: %+v, %v", result, err)
			}
		}
	})
	if got := validate(t, g.data(t)); got.duration < 2*time.Second {
		t.Errorf("only %v were kept", got.duration)
	}
}

// A store that does not answer costs packets, never the sender's time; afterwards the recording goes on with a
// keyframe.
func TestStoreSlow(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	var g *rig
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		store.hold = make(chan struct{})
		g = start(t, src.mime, Config{Objects: store, QueuePackets: 64}).withAudio(t)
		g.store = store
		go func() {
			pause(1500 * time.Millisecond)
			close(store.hold)
		}()
		begin := time.Now()
		g.send(src.packets())
		near(t, "sending took", time.Since(begin), mediaLength, 2*frameLength)
		mustClose(t, g.Recording)
		if s := g.Stats(); s.OverflowPackets == 0 {
			t.Errorf("%+v", s)
		}
	})
	got := validate(t, g.data(t))
	near(t, "duration", got.duration, mediaLength, frameLength)
	if n := len(got.md5); n < 100 || n > 140 {
		t.Errorf("%d pictures", n)
	}
}

// Close does not wait longer than it may; what it leaves can be recovered.
func TestCloseDeadline(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	store := newMemory()
	synctest.Test(t, func(t *testing.T) {
		g := start(t, src.mime, Config{Objects: store}).withAudio(t)
		g.send(src.packets())
		store.hold = make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("close: %v after %v", err, time.Since(begin))
		}
		close(store.hold)
		if _, err := g.Close(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second close: %v", err)
		}
		store.hold = nil
	})
	result, err := Recover(t.Context(), store, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "duration", result.Duration, mediaLength, frameLength)
	validate(t, store.get(key).data)
}
