package trial

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/measure"
	"github.com/securecam/securecam/bench/report"
)

// drain is how long packets may be on the way after the end mark.
const drain = 700 * time.Millisecond

// window is what was measured between two marks.
type window struct {
	took     time.Duration
	server   measure.Usage // used
	own      time.Duration // CPU time of this process
	dropped  uint64        // by our sockets
	reported uint64        // RTCP packets
	delivery report.Delivery
	latency  report.Latency
	seconds  []report.Second
}

// window measures for d.
func (t *trial) window(ctx context.Context, d time.Duration) (*window, error) {
	t.poller.SetInterval(t.cfg.Poll)
	defer t.poller.SetInterval(0)
	measure.Pause(ctx, 2*t.cfg.Poll)
	asked, repaired := t.requests()
	dropped := t.dropped()
	t.meter.Reset()
	w := &window{}
	before, err := t.usage()
	if err != nil {
		return nil, err
	}
	own, begin, reported := measure.OwnTime(), time.Now(), t.reported.Load()
	for _, c := range t.cameras {
		for _, s := range c.sources {
			s.Begin()
		}
	}
	if err := t.watch(ctx, w, begin, d, before); err != nil {
		return nil, err
	}
	for _, c := range t.cameras {
		for _, s := range c.sources {
			s.End()
		}
	}
	after, err := t.usage()
	if err != nil {
		return nil, err
	}
	w.took, w.server, w.own = time.Since(begin), after.Sub(before), measure.OwnTime()-own
	w.reported = t.reported.Load() - reported
	measure.Pause(ctx, drain)
	w.delivery = t.delivered(w.took)
	askedNow, repairedNow := t.requests()
	w.delivery.KeyframesAsked, w.delivery.CameraRepairs = askedNow-asked, repairedNow-repaired
	w.dropped = t.dropped() - dropped
	w.latency = latencyOf(&t.meter.Latency)
	for _, c := range t.cameras {
		if c.made != nil && c.made.Err() != nil {
			return nil, c.made.Err()
		}
	}
	return w, ctx.Err()
}

// watch waits for the end of the window and notes each second.
func (t *trial) watch(ctx context.Context, w *window, begin time.Time, d time.Duration, usage measure.Usage) error {
	last, packets := begin, uint64(0)
	for time.Since(begin) < d {
		measure.Pause(ctx, min(time.Second, d-time.Since(begin)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		now := time.Now()
		step := now.Sub(last).Seconds()
		received := t.meter.Received.Load()
		current, err := t.usage()
		if err != nil {
			return err
		}
		s := report.Second{
			At: now.Sub(begin).Seconds(), Packets: float64(received-packets) / step,
			P50: millis(t.meter.Recent.Quantile(0.5)), P99: millis(t.meter.Recent.Quantile(0.99)),
			ServerCores: current.Sub(usage).CPU.Seconds() / step,
		}
		t.meter.Recent.Reset()
		w.seconds = append(w.seconds, s)
		last, packets, usage = now, received, current
		t.cfg.Progress(fmt.Sprintf("%4.0f s  %d viewers  %8.0f packets/s  p50 %.2f ms  p99 %.2f ms  server %.2f cores",
			s.At, len(t.viewers), s.Packets, s.P50, s.P99, s.ServerCores))
	}
	return nil
}

// delivered adds up what the viewers got.
func (t *trial) delivered(took time.Duration) report.Delivery {
	m := &t.meter
	d := report.Delivery{
		Bytes: m.Bytes.Load(), Opened: m.Opened.Load(), Forged: m.Forged.Load(), Corrupt: m.Corrupt.Load(),
		Foreign: m.Foreign.Load(), Unstamped: m.Unstamped.Load(), Duplicates: m.Duplicates.Load(),
		Reordered: m.Reordered.Load(), Retransmitted: m.Retransmitted.Load(), Feedbacks: m.Feedbacks.Load(), WorstViewer: 1,
	}
	d.BySequence = d.Unstamped > d.Opened/10
	for _, c := range t.cameras {
		for _, s := range c.sources {
			d.BySequence = d.BySequence || s.BySequence()
			d.Published += s.Counted()
		}
	}
	if !d.BySequence { // those few were cut or padded on the way
		d.Corrupt, d.Unstamped = d.Corrupt+d.Unstamped, 0
	}
	for _, v := range t.viewers {
		expected, got := v.Delivery(d.BySequence)
		d.Expected += expected
		d.Delivered += got
		d.WorstViewer = min(d.WorstViewer, ratio(got, expected))
	}
	d.Ratio = ratio(d.Delivered, d.Expected)
	d.PacketsPerSecond = float64(d.Delivered) / took.Seconds()
	return d
}

// conclude writes a window into the result.
func (t *trial) conclude(w *window) {
	r := &t.result
	r.Delivery, r.Latency, r.Seconds = w.delivery, w.latency, w.seconds
	r.Load.Viewers, r.Load.Seconds = len(t.viewers), w.took.Seconds()
	r.Generator = report.Generator{
		Cores: w.own.Seconds() / w.took.Seconds(), Dropped: w.dropped, Errors: t.errors(), Reports: w.reported,
	}
	t.concludeSetup()
	if t.cfg.PID == 0 {
		return
	}
	s := w.serverOf(t.cfg.PID)
	s.RSSBefore = t.idle.RSS
	if n := len(t.viewers); n > 0 {
		s.KiBViewer = float64(s.RSSAfter-s.RSSBefore) / 1024 / float64(n)
	}
	s.FloorBurst, s.FloorRatio = t.against(s.Micros)
	r.Server = s
}

func (w *window) serverOf(pid int) *report.Server {
	cpu, system := w.server.CPU, w.server.SystemShare()
	s := &report.Server{
		PID: pid, Cores: cpu.Seconds() / w.took.Seconds(), Waiting: w.server.Waited.Seconds() / w.took.Seconds(),
		RSSAfter: w.server.RSS, Threads: w.server.Threads,
		Voluntary: float64(w.server.Voluntary) / w.took.Seconds(), Involuntary: float64(w.server.Involuntary) / w.took.Seconds(),
	}
	if n := w.delivery.Delivered; n > 0 {
		s.Micros = cpu.Seconds() * 1e6 / float64(n)
		s.SysMicros = s.Micros * system
		s.UserMicros = s.Micros - s.SysMicros
	}
	if n := w.delivery.Published; n > 0 {
		s.IngestUs = cpu.Seconds() * 1e6 / float64(n)
	}
	return s
}

// against compares with the floor of bursts as long as the cameras' frames,
// or two of them when a saturated server may have as many to send at once.
func (t *trial) against(micros float64) (burst int, part float64) {
	frame := t.cfg.Picture.Packets()
	if t.cfg.Pace == load.PaceSaturate {
		frame *= 2
	}
	for _, f := range t.result.Floor {
		if f.Segments <= frame && f.Micros > 0 {
			burst, part = f.Segments, micros/f.Micros
		}
	}
	return burst, part
}

func (t *trial) concludeSetup() {
	var connect, first measure.Histogram
	s := &t.result.Setup
	s.NeverAnyPacket, s.EndedByTheServer = 0, 0
	for _, v := range t.viewers {
		connect.Add(v.Connected)
		if d := v.FirstPacket(); d > 0 {
			first.Add(d)
		} else {
			s.NeverAnyPacket++
		}
		if v.Ended() {
			s.EndedByTheServer++
		}
	}
	s.ConnectP50, s.ConnectP99 = millis(connect.Quantile(0.5)), millis(connect.Quantile(0.99))
	s.FirstPacketP50, s.FirstPacketP99 = millis(first.Quantile(0.5)), millis(first.Quantile(0.99))
}

// requests counts what the server has asked the cameras for.
func (t *trial) requests() (keyframes, repairs uint64) {
	for _, c := range t.cameras {
		if c.made != nil {
			keyframes += c.made.Asked()
			repairs += c.made.Repaired()
		}
	}
	return keyframes, repairs
}

func (t *trial) dropped() (n uint64) {
	for _, v := range t.viewers {
		n += v.Dropped()
	}
	return n
}

func (t *trial) errors() (n uint64) {
	for _, v := range t.viewers {
		n += v.Errors()
	}
	return n
}

func latencyOf(h *measure.Histogram) report.Latency {
	return report.Latency{
		Samples: h.Count(), P50: millis(h.Quantile(0.5)), P99: millis(h.Quantile(0.99)), P999: millis(h.Quantile(0.999)),
		Max: millis(h.Max()), Curve: slices.Clip(h.Curve()),
	}
}

func millis(d time.Duration) float64 { return d.Seconds() * 1e3 }

func ratio(got, expected uint64) float64 {
	if expected == 0 {
		return 0
	}
	return float64(got) / float64(expected)
}
