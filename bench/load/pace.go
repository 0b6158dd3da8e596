package load

import (
	"context"
	"time"
)

const (
	// spread is how long a paced frame takes at most; a frame never takes more
	// than half of its time.
	spread = 10 * time.Millisecond
	// reportInterval is the time between two sender reports.
	reportInterval = time.Second
	// inFlight is how many frames may be on the way to each viewer when
	// PaceSaturate sends another one, and stall how long nothing may arrive before it takes them for lost.
	inFlight = 1
	stall    = 250 * time.Millisecond

	audioInterval = 20 * time.Millisecond
	audioPayload  = 120 // 48 kbit/s
	muteInterval  = time.Second
)

// Spread is over how long the packets of a frame go, of which one goes in an interval.
func (p Pace) Spread(interval time.Duration) time.Duration {
	if p != PaceFrame {
		return 0
	}
	return min(spread, interval/2)
}

// sleeper waits without a new timer each time.
type sleeper struct{ timer *time.Timer }

func newSleeper() sleeper { return sleeper{time.NewTimer(time.Hour)} }

func (s sleeper) until(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	s.timer.Reset(d)
	select {
	case <-s.timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// videoLoop is the state of a camera's video.
type videoLoop struct {
	camera   *Camera
	frames   []*frames
	interval time.Duration
	wait     sleeper
	sizes    []int
	number   uint16
	reported time.Time
	start    time.Time
	flight   flight
}

// sendVideo sends frame after frame until ctx ends.
func (c *Camera) sendVideo(ctx context.Context) error {
	v := &videoLoop{
		camera: c, wait: newSleeper(), start: time.Now(), interval: time.Duration(float64(time.Second) / c.cfg.Picture.FPS),
	}
	defer v.wait.timer.Stop()
	for i := range c.video {
		p := c.cfg.Picture
		p.Bitrate >>= 2 * i // a half of width and height
		v.frames = append(v.frames, newFrames(p, uint64(c.cfg.Number)))
	}
	next := v.start.Add(c.cfg.Phase)
	for {
		if err := v.wait.until(ctx, next); err != nil {
			return err
		}
		if err := v.frame(ctx, next); err != nil {
			return err
		}
		switch {
		case c.muted.Load():
			next = time.Now().Add(muteInterval)
		case c.cfg.Pace == PaceSaturate && c.viewers.Load() > 0:
			if err := v.flight.settle(ctx, c); err != nil {
				return err
			}
			next = time.Now()
		default:
			// After a stall go on from now: a burst of late frames is nobody's camera.
			if next = next.Add(v.interval); time.Since(next) > v.interval {
				next = time.Now()
			}
		}
	}
}

// frame sends one frame of every layer.
func (v *videoLoop) frame(ctx context.Context, at time.Time) error {
	c := v.camera
	timestamp := uint32(at.Sub(v.start) * 90000 / time.Second)
	wanted := c.keyframe.Swap(false)
	for i, o := range c.video {
		size, key := v.frames[i].next(wanted)
		if c.muted.Load() {
			size = minPayload
		}
		if key && o.source.codec == H264 {
			if err := o.sendParameters(timestamp); err != nil {
				return err
			}
		}
		v.sizes = split(size, v.sizes[:0])
		if err := v.packets(ctx, o, timestamp, key, at); err != nil {
			return err
		}
	}
	v.number++
	if time.Since(v.reported) < reportInterval {
		return nil
	}
	v.reported = time.Now()
	for _, o := range c.video {
		if err := o.report(timestamp); err != nil {
			return err
		}
	}
	return nil
}

// packets sends the packets of one frame at the camera's pace.
func (v *videoLoop) packets(ctx context.Context, o *outgoing, timestamp uint32, key bool, at time.Time) error {
	step := v.camera.cfg.Pace.Spread(v.interval) / time.Duration(len(v.sizes))
	for i, size := range v.sizes {
		if step > 0 && i > 0 {
			if err := v.wait.until(ctx, at.Add(time.Duration(i)*step)); err != nil {
				return err
			}
		}
		p := place{first: i == 0, last: i == len(v.sizes)-1, key: key, frame: v.number}
		if err := o.send(timestamp, p, size); err != nil {
			return err
		}
	}
	o.flush()
	return nil
}

// flight keeps a saturating camera from running away from its viewers.
type flight struct {
	viewers         uint64
	sent, delivered uint64 // where the account begins
}

// settle waits until the viewers have got all but the last frames. When
// nothing arrives any more, packets are lost and a new account begins.
func (f *flight) settle(ctx context.Context, c *Camera) error {
	source := c.video[0].source
	frame := uint64(c.cfg.Picture.Packets())
	pause := newSleeper()
	defer pause.timer.Stop()
	last, since := source.received.Load(), time.Now()
	for {
		got := source.received.Load()
		if got != last {
			last, since = got, time.Now()
		}
		fresh := uint64(c.viewers.Load()) != f.viewers
		due := (source.sent.Load() - f.sent) * f.viewers
		if !fresh && got-f.delivered+inFlight*frame*f.viewers >= due {
			return ctx.Err()
		}
		if time.Since(since) > stall {
			f.viewers, f.sent, f.delivered = uint64(c.viewers.Load()), source.sent.Load(), got
			return ctx.Err()
		}
		if err := pause.until(ctx, time.Now().Add(100*time.Microsecond)); err != nil {
			return err
		}
	}
}

// sendAudio sends a packet every 20 ms until ctx ends.
func (c *Camera) sendAudio(ctx context.Context) error {
	wait := newSleeper()
	defer wait.timer.Stop()
	next := time.Now().Add(c.cfg.Phase)
	var timestamp uint32
	for n := 0; ; n++ {
		if err := wait.until(ctx, next); err != nil {
			return err
		}
		if !c.muted.Load() {
			if err := c.audio.send(timestamp, place{first: true, last: n == 0}, audioPayload); err != nil {
				return err
			}
		}
		if n%int(reportInterval/audioInterval) == 0 {
			if err := c.audio.report(timestamp); err != nil {
				return err
			}
		}
		timestamp += uint32(48000 * audioInterval / time.Second)
		if next = next.Add(audioInterval); time.Since(next) > time.Second {
			next = time.Now()
		}
	}
}
