package recorder

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/recorder/depacket"
	"github.com/securecam/securecam/recorder/webm"
)

// Track describes a track to record.
type Track struct {
	ID              string
	MimeType        string // video/VP8, video/VP9, video/H264, video/AV1 or audio/opus, in any case
	ClockRate       uint32 // 0 means that of the codec
	Channels        uint16 // audio; 0 means 2
	RequestKeyframe func() // asks the source for a keyframe; must not block; may be nil
}

// AddTrack adds a track, before the file has begun: afterwards the error is ErrStarted.
func (r *Recording) AddTrack(t Track) (*TrackWriter, error) {
	codec, ok := codecOf(t.MimeType)
	if !ok {
		return nil, ErrTrack
	}
	if t.ClockRate == 0 {
		t.ClockRate = 90000
		if codec == webm.Opus {
			t.ClockRate = 48000
		}
	}
	if t.Channels == 0 {
		t.Channels = 2
	}
	if codec == webm.Opus && (t.ClockRate != 48000 || t.Channels > 2) { // RFC 7587, section 7
		return nil, ErrTrack
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.stopped.Load():
		return nil, ErrClosed
	case r.sealed:
		return nil, ErrStarted
	case len(r.tracks) == webm.MaxTracks:
		return nil, ErrTrack
	}
	tr := newTrack(r, t, codec)
	r.tracks = append(r.tracks[:len(r.tracks):len(r.tracks)], tr)
	return &TrackWriter{tr}, nil
}

func codecOf(mimeType string) (webm.Codec, bool) {
	switch strings.ToLower(mimeType) {
	case "video/vp8":
		return webm.VP8, true
	case "video/vp9":
		return webm.VP9, true
	case "video/av1":
		return webm.AV1, true
	case "video/h264":
		return webm.AVC, true
	case "audio/opus":
		return webm.Opus, true
	}
	return "", false
}

// snapshot returns the tracks; the slice is never changed.
func (r *Recording) snapshot() []*track {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tracks
}

// seal ends the adding of tracks.
func (r *Recording) seal() []*track {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
	return r.tracks
}

// TrackWriter takes the packets of one track. Its methods never block.
type TrackWriter struct{ t *track }

// WriteRTP queues a copy of a packet; nothing of h and payload is kept. Packets may come late, twice and out of
// order. When the queue is full the packet is dropped and counted, and for a video track so is everything up to the
// next keyframe. The error is ErrClosed once the recording has stopped.
func (w *TrackWriter) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	r := w.t.r
	if r.stopped.Load() {
		return 0, ErrClosed
	}
	r.count.packets.Add(1)
	if w.t.congested.Load() {
		if len(r.queue) > cap(r.queue)/2 || r.queued.Load() > int64(r.cfg.QueueBytes/2) {
			r.count.overflow.Add(1)
			return len(payload), nil
		}
	}
	p, ok := r.acquire(payload)
	if !ok {
		w.t.overflow()
		return len(payload), nil
	}
	p.track, p.sequence, p.timestamp, p.marker = w.t, h.SequenceNumber, h.Timestamp, h.Marker
	p.arrived = r.cfg.Now()
	p.after = w.t.congested.Swap(false)
	select {
	case r.queue <- p:
	default:
		r.release(p)
		w.t.overflow()
	}
	return len(payload), nil
}

// WriteSenderReport tells what wall clock time, in NTP format, a timestamp of the track stands for. It keeps
// sound and picture together.
func (w *TrackWriter) WriteSenderReport(ntpTime uint64, rtpTime uint32) {
	r := w.t.r
	if r.stopped.Load() {
		return
	}
	p, ok := r.acquire(nil)
	if !ok {
		return
	}
	p.track, p.report, p.ntp, p.timestamp = w.t, true, ntpTime, rtpTime
	select {
	case r.queue <- p:
	default: // the next one comes within seconds
		r.release(p)
	}
}

// track is the recording's side of a track. All but congested belongs to the recording's goroutine.
type track struct {
	r         *Recording
	info      Track
	codec     webm.Codec
	congested atomic.Bool // packets are being dropped at the queue

	reorder reorderBuffer
	depack  depacket.Depacketizer
	clock   clock

	data       []byte // of the frame being assembled
	timestamp  uint32 // of it
	arrived    time.Time
	assembling bool
	synced     bool // the last frame is in the file's track; nothing between it and the next one is lost

	wanted   time.Time // when a keyframe was last asked for
	lastKey  time.Time
	pending  frameQueue // frames that wait for the other tracks
	number   int        // in the file; -1 when it is not in it
	written  bool
	lastTime time.Duration // of the last frame written
	lastStep time.Duration // between it and the one before
}

func newTrack(r *Recording, t Track, codec webm.Codec) *track {
	tr := &track{r: r, info: t, codec: codec, number: -1, depack: depacket.New(string(codec))}
	tr.reorder.wait = r.cfg.ReorderWait
	tr.clock.rate = int64(t.ClockRate)
	return tr
}

func (t *track) video() bool { return t.codec != webm.Opus }

// overflow counts a packet that found no room, and drops those that follow until there is plenty again.
func (t *track) overflow() {
	t.r.count.overflow.Add(1)
	t.congested.Store(true)
}

// push puts a packet into the reorder buffer.
func (t *track) push(p *packet) {
	for t.reorder.full(p) {
		t.take(t.reorder.flush())
	}
	if !t.reorder.push(p) {
		t.r.count.late.Add(1)
		t.r.release(p)
	}
}

// receive takes the packets out of the reorder buffer that are next, or given up waiting for.
func (t *track) receive(now time.Time) {
	for {
		p, lost := t.reorder.pop(now)
		if p == nil {
			break
		}
		t.take(p, lost)
	}
	if t.video() && t.reorder.begun {
		t.wantKeyframe(now)
	}
}

func (t *track) drain() {
	for {
		p, lost := t.reorder.flush()
		if p == nil {
			break
		}
		t.take(p, lost)
	}
	t.lose() // the rest of a frame that was cut
}

func (t *track) take(p *packet, lost int) {
	defer t.r.release(p)
	if lost > 0 {
		t.r.count.lost.Add(uint64(lost))
		t.lose()
	}
	t.assemble(p)
}

// keyframeRetry is how long a keyframe that was asked for may take before it is asked for again.
const keyframeRetry = time.Second

// wantKeyframe asks for a keyframe when the track cannot go on without one, or has not had one for long.
func (t *track) wantKeyframe(now time.Time) {
	if t.info.RequestKeyframe == nil || now.Sub(t.wanted) < keyframeRetry || !t.synced && t.assembling {
		return
	}
	every := t.r.cfg.KeyframeInterval
	if t.synced && (every < 0 || now.Sub(t.lastKey) < every) {
		return
	}
	t.wanted = now
	t.r.count.keyframes.Add(1)
	t.r.log.Debug("keyframe requested", slog.String("track", t.info.ID))
	t.info.RequestKeyframe()
}
