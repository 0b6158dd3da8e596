// Package recorder turns forwarded RTP into WebM files in an object store: crash-proof, seekable and
// without transcoding.
package recorder

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Objects is where recordings go.
type Objects interface {
	// Create makes a new object. It must fail if there is one with that key.
	Create(ctx context.Context, key, contentType string) (Object, error)
	// Resume opens what a killed process left of an object that it had not committed.
	Resume(ctx context.Context, key string) (Object, error)
}

// Object is an object that is being written. Write appends; WriteAt and ReadAt stay within its first 256 KiB;
// Truncate only goes back into the last Write. Commit publishes it, Abort removes it; either ends its use.
type Object interface {
	io.Writer
	io.WriterAt
	io.ReaderAt
	Size() int64
	Truncate(size int64) error
	Commit(ctx context.Context) error
	Abort(ctx context.Context) error
}

// Errors of this package.
var (
	// ErrClosed is returned by a recording after Close.
	ErrClosed = errors.New("recorder: closed")
	// ErrStarted is returned for a track that comes after the file was begun: its head is written once.
	ErrStarted = errors.New("recorder: recording has started")
	// ErrTrack is returned for a track that cannot be recorded.
	ErrTrack = errors.New("recorder: unsupported track")
)

// Config configures a Recording. Objects and Key are required, everything else has a default.
type Config struct {
	Objects Objects
	Key     string
	Logger  *slog.Logger
	Now     func() time.Time
	Totals  *Totals // that this recording counts into; may be nil

	// Tracks is how many tracks are expected. The file begins as soon as all of them have media, or TrackWait
	// after the first of them has. 0 means one of video and one of audio.
	Tracks    int
	TrackWait time.Duration // 0 means 1 s

	// ClusterLength is how much is kept in memory before it is written, which is what a crash can lose.
	ClusterLength time.Duration // 0 means 700 ms

	// ReorderWait is how long a missing packet is waited for.
	ReorderWait time.Duration // 0 means 200 ms

	// KeyframeInterval is after how long without a keyframe one is asked for, so that a file can be sought in.
	KeyframeInterval time.Duration // 0 means 5 s, negative never

	// QueuePackets and QueueBytes bound what waits for the recording's goroutine and in its reorder buffers.
	// When either is exceeded, packets are dropped up to the next keyframe.
	QueuePackets int // 0 means 1024
	QueueBytes   int // 0 means 8 MiB
}

func (c Config) withDefaults() (Config, error) {
	if c.Objects == nil || c.Key == "" {
		return c, errors.New("recorder: objects and key are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	setDefault(&c.TrackWait, time.Second)
	setDefault(&c.ClusterLength, 700*time.Millisecond)
	setDefault(&c.ReorderWait, 200*time.Millisecond)
	setDefault(&c.KeyframeInterval, 5*time.Second)
	setDefault(&c.QueuePackets, 1024)
	setDefault(&c.QueueBytes, 8<<20)
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Result is what a recording came to.
type Result struct {
	Duration time.Duration
	Size     int64
	Empty    bool // nothing was recorded, and there is no object
}

// Recording records the tracks of one media session into one object. All methods are safe for concurrent use.
type Recording struct {
	cfg    Config
	log    *slog.Logger
	queue  chan *packet
	pool   sync.Pool    // of *packet
	queued atomic.Int64 // bytes of the packets out of pool
	count  counters

	mu      sync.Mutex // guards tracks and sealed
	tracks  []*track
	sealed  bool        // no more tracks
	stopped atomic.Bool // no more packets

	stop     chan context.Context // of the first Close
	stopOnce sync.Once
	done     chan struct{}
	result   Result // set before done is closed
	err      error  // set before done is closed

	mux *muxer // belongs to the goroutine
}

// Start starts a recording that has no tracks and no object yet. The values of ctx reach Objects.Create; its
// end does not end the recording, which only Close does.
func Start(ctx context.Context, cfg Config) (*Recording, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Recording{
		cfg:   cfg,
		log:   cfg.Logger.With(slog.String("recording", cfg.Key)),
		queue: make(chan *packet, cfg.QueuePackets),
		stop:  make(chan context.Context, 1),
		done:  make(chan struct{}),
	}
	r.pool.New = func() any { return new(packet) }
	r.mux = newMuxer(r)
	cfg.Totals.begin(r)
	go r.run(context.WithoutCancel(ctx))
	return r, nil
}

// Close flushes what is queued, completes the file and commits the object, or aborts it when nothing was
// recorded. It returns what made the recording stop early, if anything did; what was written before that is
// committed nevertheless, and Result tells of it. When ctx ends first, Close returns its error and the object is
// left for Recover. Further calls wait for the first and return the same.
func (r *Recording) Close(ctx context.Context) (Result, error) {
	r.stopOnce.Do(func() {
		r.stopped.Store(true)
		r.stop <- ctx
	})
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// run is the recording's only goroutine: it assembles frames and is the only one to touch the object.
func (r *Recording) run(ctx context.Context) {
	defer close(r.done)
	defer r.cfg.Totals.end(r)
	stopCtx, err := r.loop(ctx)
	if err != nil {
		r.stopped.Store(true)
		r.count.fail(err)
		r.log.Error("recording stopped", slog.Any("err", err))
	}
	if stopCtx == nil {
		stopCtx = <-r.stop
	}
	r.discard()
	result, finishErr := r.mux.finish(stopCtx, err != nil)
	r.result, r.err = result, errors.Join(err, finishErr)
}

// tick is how often the recording looks at the clock: for packets that do not come, and clusters that wait.
const tick = 50 * time.Millisecond

// loop works until Close, whose context it returns, or the first error.
func (r *Recording) loop(ctx context.Context) (context.Context, error) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case p := <-r.queue:
			r.handle(p)
			r.takeQueued()
		case <-ticker.C:
			r.takeQueued() // nothing that is here already may be given up
			for _, t := range r.snapshot() {
				t.receive(r.cfg.Now())
			}
		case stopCtx := <-r.stop:
			return stopCtx, r.drain(ctx)
		}
		if err := r.mux.advance(ctx, r.cfg.Now()); err != nil {
			return nil, err
		}
	}
}

// takeQueued handles what has queued up meanwhile, so that the clock and the muxer are asked once for all of it.
func (r *Recording) takeQueued() {
	for range len(r.queue) {
		r.handle(<-r.queue)
	}
}

func (r *Recording) handle(p *packet) {
	t, arrived := p.track, p.arrived
	if p.report {
		t.clock.report(p.ntp, p.timestamp)
		r.mux.align()
		r.release(p)
		return
	}
	t.push(p)
	t.receive(arrived)
}

// drain takes the last packets in: nothing is waited for any longer.
func (r *Recording) drain(ctx context.Context) error {
	r.takeQueued()
	for _, t := range r.snapshot() {
		t.drain()
	}
	return r.mux.drain(ctx, r.cfg.Now())
}

func (r *Recording) discard() {
	for range len(r.queue) {
		r.release(<-r.queue)
	}
}
