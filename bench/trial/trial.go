package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/measure"
	"github.com/securecam/securecam/bench/peer"
	"github.com/securecam/securecam/bench/report"
	"github.com/securecam/securecam/bench/securecam"
	"github.com/securecam/securecam/bench/whip"
	"github.com/securecam/securecam/bench/wire"
)

const (
	setupTimeout = 15 * time.Second
	closeTimeout = 60 * time.Second
)

// trial is a running load test.
type trial struct {
	cfg     Config
	poller  *wire.Poller
	http    *whip.Client
	client  *load.Client
	setup   *securecam.Setup
	film    *peer.Film // what all cameras play, nil if they make it
	cameras []camera
	meter   load.Meter
	// reported counts the viewers' reports since the trial began.
	reported atomic.Uint64
	result   report.Result
	idle     measure.Usage // of the server before the viewers came

	mu      sync.Mutex // guards viewers, which reports go through
	viewers []*load.Viewer

	stop    context.CancelFunc
	running sync.WaitGroup
}

// camera is one that makes its media, or plays a file.
type camera struct {
	sources []*load.Source
	made    *load.Camera // nil for a file
	leave   func(context.Context) error
}

// Run runs a load test to its end. What it has made at the server is gone
// afterwards, also when ctx ends early.
func Run(ctx context.Context, cfg Config) (report.Result, error) {
	if err := cfg.check(); err != nil {
		return report.Result{}, err
	}
	t := &trial{cfg: cfg.withDefaults()}
	err := t.run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	t.cfg.Progress("leaving")
	if err = errors.Join(err, t.close(closing)); err == nil {
		err = t.direct(ctx)
	}
	return t.result, err
}

// directSteps is for how many steps of the floor the load goes without a server.
const directSteps = 4

// direct measures the latency of the load without the server, when that has nothing to do any more.
func (t *trial) direct(ctx context.Context) error {
	c := t.cfg
	if c.Floor <= 0 || c.FindMax || c.VideoFile != "" || t.result.Load.Viewers == 0 {
		return nil
	}
	c.Progress("measuring the latency without the server")
	l := measure.DirectLoad{Cameras: c.Cameras, Viewers: t.result.Load.Viewers, Packets: c.Picture.Packets(), Poll: c.Poll}
	if c.Pace != load.PaceSaturate {
		l.Interval = time.Duration(float64(time.Second) / c.Picture.FPS)
		l.Spread = c.Pace.Spread(l.Interval)
	}
	var latency, work measure.Histogram
	if err := measure.Direct(ctx, l, directSteps*c.Floor, &latency); err != nil {
		return fmt.Errorf("without a server: %w", err)
	}
	if err := measure.Noise(ctx, c.Floor, &work); err != nil {
		return fmt.Errorf("noise: %w", err)
	}
	t.result.Direct = &report.Direct{
		Latency: latencyOf(&latency), WorkP50: millis(work.Quantile(0.5)), WorkP99: millis(work.Quantile(0.99)),
	}
	return nil
}

func (t *trial) run(ctx context.Context) error {
	t.describe()
	if t.cfg.Floor > 0 {
		t.cfg.Progress("measuring the floor")
		var err error
		if t.result.Floor, err = measure.Floor(ctx, []int{1, 4, 9, 16}, t.cfg.Floor, false); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		if t.result.FloorRead, err = measure.Floor(ctx, []int{1, 9}, t.cfg.Floor, true); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.publish(ctx); err != nil {
		return err
	}
	background, stop := context.WithCancel(ctx)
	t.stop = stop
	t.running.Go(func() { t.reports(background) })
	if t.cfg.FindMax {
		return t.findMax(ctx)
	}
	if err := t.admit(ctx, t.cfg.Viewers); err != nil {
		return err
	}
	if err := t.unmute(ctx); err != nil {
		return err
	}
	w, err := t.window(ctx, t.cfg.Duration)
	if err != nil {
		return err
	}
	t.conclude(w)
	return nil
}

func (t *trial) describe() {
	c := t.cfg
	t.result = report.Result{
		Date: time.Now().UTC().Truncate(time.Second), Name: c.Name, Command: c.Command, Machine: measure.ThisMachine(),
		Load: report.Load{
			Cameras: c.Cameras, Viewers: c.Viewers, Video: string(c.Picture.Codec), Audio: c.Audio, Bitrate: c.Picture.Bitrate,
			FPS: c.Picture.FPS, Even: c.Picture.Even, Pace: string(c.Pace), Joined: c.Joined, Layers: max(c.Layers, 1), MaxHeight: c.MaxHeight,
			Seconds: c.Duration.Seconds(), RTCPRate: c.RTCPRate, NACK: c.NACK, Quiet: c.QuietSetup, Congestion: c.Congestion,
		},
	}
	if c.VideoFile != "" {
		t.result.Load.Video = c.VideoFile
	}
}

// open makes what all peers share.
func (t *trial) open(ctx context.Context) error {
	var err error
	if t.poller, err = wire.NewPoller(wire.Config{Readers: t.cfg.Readers}); err != nil {
		return err
	}
	t.http = whip.NewClient(t.cfg.Parallel, t.cfg.Insecure)
	server := t.cfg.WHIP.URL
	if t.cfg.SecureCam != "" {
		server = t.cfg.SecureCam
		t.cfg.Progress("signing up")
		if t.setup, err = securecam.New(ctx, t.http.HTTP(), server, t.cfg.Cameras); err != nil {
			return err
		}
	}
	t.client, err = load.NewClient(ctx, t.http, t.poller, server)
	return err
}

// reports sends the viewers' receiver reports, evenly over time.
func (t *trial) reports(ctx context.Context) {
	const tick = 10 * time.Millisecond
	if t.cfg.RTCPRate <= 0 {
		return
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	due, next := 0.0, 0
	for last := time.Now(); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
		viewers := t.viewers
		t.mu.Unlock()
		now := time.Now()
		due = math.Min(due+now.Sub(last).Seconds()*t.cfg.RTCPRate*float64(len(viewers)), float64(len(viewers)))
		last = now
		for ; due >= 1; due-- {
			next = (next + 1) % len(viewers)
			if viewers[next].Report(t.cfg.NACK) == nil {
				t.reported.Add(1)
			}
		}
	}
}

// close undoes what was made, viewers first.
func (t *trial) close(ctx context.Context) error {
	if t.stop != nil {
		t.stop()
	}
	t.running.Wait()
	failed := t.dismiss(ctx, len(t.viewers))
	for _, c := range t.cameras {
		failed = errors.Join(failed, c.leave(ctx))
	}
	if t.setup != nil {
		failed = errors.Join(failed, t.setup.Close(ctx))
	}
	if t.http != nil {
		t.http.Close()
	}
	if t.poller != nil {
		failed = errors.Join(failed, t.poller.Close())
	}
	return failed
}
