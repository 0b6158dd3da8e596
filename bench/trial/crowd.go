package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/measure"
	"github.com/securecam/securecam/bench/peer"
	"github.com/securecam/securecam/bench/whip"
)

// publish connects the cameras.
func (t *trial) publish(ctx context.Context) error {
	interval := time.Duration(0)
	if t.cfg.Picture.FPS > 0 {
		interval = time.Duration(float64(time.Second) / t.cfg.Picture.FPS)
	}
	if t.cfg.VideoFile != "" {
		var err error
		m := peer.Media{Video: t.cfg.VideoFile, Audio: t.cfg.AudioFile, FPS: t.cfg.Picture.FPS}
		if t.film, err = m.Read(); err != nil {
			return err
		}
	}
	for i := range t.cfg.Cameras {
		t.cfg.Progress(fmt.Sprintf("publishing camera %d of %d", i+1, t.cfg.Cameras))
		in := numbered(t.cfg.WHIP, i)
		if t.setup != nil {
			in = t.setup.Publish(i)
		}
		c, err := t.camera(ctx, in, i, interval*time.Duration(i)/time.Duration(t.cfg.Cameras))
		if err != nil {
			return fmt.Errorf("camera %d: %w", i, err)
		}
		t.cameras = append(t.cameras, c)
	}
	if t.cfg.PID == 0 {
		return nil
	}
	var err error
	t.idle, err = measure.Process(t.cfg.PID)
	return err
}

func (t *trial) camera(ctx context.Context, in whip.Endpoint, number int, phase time.Duration) (camera, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if t.film != nil {
		played, err := t.film.Publish(ctx, peer.Endpoint(in))
		if err != nil {
			return camera{}, err
		}
		sources := []*load.Source{load.FileSource(t.cfg.Picture.Codec)}
		if t.cfg.AudioFile != "" {
			sources = append(sources, load.FileSource(load.Opus))
		}
		return camera{sources: sources, leave: played.Leave}, nil
	}
	made, err := t.client.Publish(ctx, load.CameraConfig{
		Endpoint: in, Number: number, Picture: t.cfg.Picture, Audio: t.cfg.Audio, Pace: t.cfg.Pace, Joined: t.cfg.Joined, Phase: phase,
		Layers: t.cfg.Layers, Muted: t.cfg.QuietSetup,
	})
	if err != nil {
		return camera{}, err
	}
	return camera{sources: made.Sources(t.cfg.MaxHeight), made: made, leave: made.Leave}, nil
}

// admit connects viewers until there are n, and notes how that went.
func (t *trial) admit(ctx context.Context, n int) error {
	missing := n - len(t.viewers)
	if missing <= 0 {
		return nil
	}
	endpoints, err := t.endpoints(ctx, missing)
	if err != nil {
		return err
	}
	before, err := t.usage()
	if err != nil {
		return err
	}
	begin := time.Now()
	failed := t.connect(ctx, endpoints)
	took := time.Since(begin)
	after, err := t.usage()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s := &t.result.Setup
	s.Connected = len(t.viewers)
	s.Failed += len(failed)
	if len(failed) > 0 && s.FirstError == "" {
		s.FirstError = failed[0].Error()
	}
	if len(t.viewers) == 0 {
		return fmt.Errorf("no viewer connected: %w", failed[0])
	}
	s.PerSecond = float64(missing-len(failed)) / took.Seconds()
	if t.cfg.PID != 0 {
		s.ServerMillis = after.Sub(before).CPU.Seconds() * 1e3 / float64(missing)
	}
	t.result.Load.Profile = t.viewers[0].Profile()
	return nil
}

// limited asks for a picture of so many lines at most.
func limited(e whip.Endpoint, maxHeight int) whip.Endpoint {
	if maxHeight > 0 {
		separator := "?"
		if strings.Contains(e.URL, "?") {
			separator = "&"
		}
		e.URL += fmt.Sprintf("%smaxHeight=%d", separator, maxHeight)
	}
	return e
}

// endpoints returns where the next viewers play. What SecureCam's API has to
// do for that is not part of their set-up.
func (t *trial) endpoints(ctx context.Context, count int) ([]whip.Endpoint, error) {
	endpoints := make([]whip.Endpoint, count)
	for i := range endpoints {
		number := (len(t.viewers) + i) % len(t.cameras)
		if t.setup == nil {
			endpoints[i] = limited(numbered(t.cfg.WHEP, number), t.cfg.MaxHeight)
			continue
		}
		e, err := t.setup.Watch(ctx, number)
		if err != nil {
			return nil, err
		}
		endpoints[i] = limited(e, t.cfg.MaxHeight)
		if i%10 == 9 {
			t.cfg.Progress(fmt.Sprintf("requesting stream %d of %d", i+1, count))
		}
	}
	return endpoints, nil
}

// connect connects a viewer for each endpoint, several at a time, and returns
// why some could not.
func (t *trial) connect(ctx context.Context, endpoints []whip.Endpoint) []error {
	base, count := len(t.viewers), len(endpoints)
	jobs := make(chan int)
	var mu sync.Mutex
	var failed []error
	var workers sync.WaitGroup
	for range min(t.cfg.Parallel, count) {
		workers.Go(func() {
			for i := range jobs {
				v, err := t.viewer(ctx, endpoints[i-base], i)
				mu.Lock()
				if err != nil {
					failed = append(failed, fmt.Errorf("viewer %d: %w", i, err))
				}
				mu.Unlock()
				if err == nil {
					t.mu.Lock()
					t.viewers = append(t.viewers, v)
					t.mu.Unlock()
				}
			}
		})
	}
	begin := time.Now()
	for i := range count {
		if t.cfg.Rate > 0 {
			measure.Pause(ctx, time.Until(begin.Add(time.Duration(float64(i)/t.cfg.Rate*float64(time.Second)))))
		}
		if ctx.Err() != nil {
			break
		}
		jobs <- base + i
		if i%10 == 9 {
			t.cfg.Progress(fmt.Sprintf("connecting viewer %d of %d", base+i+1, base+count))
		}
	}
	close(jobs)
	workers.Wait()
	return failed
}

func (t *trial) viewer(ctx context.Context, e whip.Endpoint, i int) (*load.Viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	c := t.cameras[i%len(t.cameras)]
	every := uint64(t.cfg.Sample)
	// Those that verify everything are spread over all places of a fan-out.
	if v := t.cfg.Verify; v > 0 && i%max(t.cfg.Viewers/v, 1) == 0 {
		every = 1
	}
	return t.client.Play(ctx, load.ViewerConfig{Endpoint: e, Sources: c.sources, Meter: &t.meter, Every: every, Congestion: t.cfg.Congestion})
}

// dismiss lets so many viewers leave, the last ones first.
func (t *trial) dismiss(ctx context.Context, count int) error {
	t.mu.Lock()
	at := len(t.viewers) - count
	leaving := t.viewers[at:]
	t.viewers = t.viewers[:at:at]
	t.mu.Unlock()
	jobs := make(chan *load.Viewer)
	errs := make([]error, t.cfg.Parallel)
	var workers sync.WaitGroup
	for i := range errs {
		workers.Go(func() {
			for v := range jobs {
				errs[i] = errors.Join(errs[i], v.Leave(ctx))
			}
		})
	}
	for _, v := range leaving {
		jobs <- v
	}
	close(jobs)
	workers.Wait()
	return errors.Join(errs...)
}

// unmute lets the cameras send and waits until the load is steady.
func (t *trial) unmute(ctx context.Context) error {
	for i, c := range t.cameras {
		if c.made != nil {
			c.made.Mute(false)
			// Viewer k watches camera k mod cameras.
			c.made.Viewers((len(t.viewers) + len(t.cameras) - 1 - i) / len(t.cameras))
		}
	}
	t.cfg.Progress("warming up")
	measure.Pause(ctx, t.cfg.WarmUp)
	return ctx.Err()
}

func (t *trial) usage() (measure.Usage, error) {
	if t.cfg.PID == 0 {
		return measure.Usage{}, nil
	}
	return measure.Process(t.cfg.PID)
}
