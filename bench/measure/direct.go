package measure

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// DirectLoad is a load that goes from its cameras straight to the viewers, who are dealt out to them.
type DirectLoad struct {
	Cameras, Viewers int
	Packets          int           // of a frame
	Interval         time.Duration // between two frames of a camera; 0 sends one after the other
	Spread           time.Duration // how long a frame's packets take to come; 0 is at once
	Poll             time.Duration // how often the viewers' sockets are read
}

// stampAt is where in the RTP header a packet says when its burst began: nobody reads timestamp and SSRC.
const stampAt = 4

// Direct measures what of a load's latency is this machine's and this program's: every packet is sealed for each of
// its camera's viewers and sent to them from here, as Floor does. A packet's time begins before the first viewer's is
// sealed and ends with the kernel's receive timestamp.
func Direct(ctx context.Context, l DirectLoad, d time.Duration, latency *Histogram) error {
	l.Cameras = min(l.Cameras, l.Viewers)
	if l.Cameras < 1 || l.Packets < 1 {
		return errors.New("measure: nothing to send")
	}
	heard := func(b []byte, _ netip.AddrPort, at int64) {
		if len(b) >= floorHeader {
			latency.Add(time.Duration(at - int64(binary.BigEndian.Uint64(b[stampAt:]))))
		}
	}
	f, err := newFloor(ctx, l.Viewers, heard, l.Poll)
	if err != nil {
		return err
	}
	err = f.direct(ctx, l, d)
	Pause(ctx, max(4*l.Poll, 50*time.Millisecond)) // what is on the way is read
	return errors.Join(err, f.close())
}

// step is one burst of a camera within the interval of a frame.
type step struct {
	at      time.Duration
	camera  int
	packets int
}

// steps are those of all cameras, whose frames begin evenly over the interval.
func (l DirectLoad) steps() []step {
	var all []step
	for c := range l.Cameras {
		phase := l.Interval * time.Duration(c) / time.Duration(l.Cameras)
		if l.Spread == 0 {
			all = append(all, step{phase, c, l.Packets})
			continue
		}
		for i := range l.Packets {
			all = append(all, step{phase + l.Spread*time.Duration(i)/time.Duration(l.Packets), c, 1})
		}
	}
	slices.SortStableFunc(all, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return all
}

func (f *floor) direct(ctx context.Context, l DirectLoad, d time.Duration) error {
	batch, steps, begin := f.conn.NewBatch(), l.steps(), time.Now()
	for frame := begin; time.Since(begin) < d; frame = frame.Add(l.Interval) {
		for _, s := range steps {
			Pause(ctx, time.Until(frame.Add(s.at)))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			binary.BigEndian.PutUint64(f.packet[stampAt:], uint64(time.Now().UnixNano()))
			n := len(f.receivers)
			f.burst(batch, f.receivers[s.camera*n/l.Cameras:(s.camera+1)*n/l.Cameras], s.packets)
		}
	}
	return nil
}

// noiseWork is about how long a piece of work takes that Noise times.
const noiseWork = time.Millisecond

// Noise times equal pieces of work of about a millisecond, one after the other for d: how much longer than the median
// the slowest take is what a machine does to every latency, with whatever else runs on it.
func Noise(ctx context.Context, d time.Duration, pieces *Histogram) error {
	f, err := newFloor(ctx, 0, nil, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.conn.Close() }()
	if err := f.add(f.conn.LocalAddr()); err != nil {
		return err
	}
	work := func(seals int) time.Duration {
		began := time.Now()
		for range seals {
			f.receivers[0].sealOne(f.packet, f.scratch[:])
		}
		return time.Since(began)
	}
	seals := 64
	for min(work(seals), work(seals), work(seals)) < noiseWork && ctx.Err() == nil {
		seals += seals / 4
	}
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		pieces.Add(work(seals))
	}
	return ctx.Err()
}

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
