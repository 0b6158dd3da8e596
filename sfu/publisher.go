package sfu

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/ring"
)

// maxLayers bounds the SSRCs that one publisher may use in turn.
const maxLayers = 16

// remoteTrack is a track that pion found in a publisher's packets.
type remoteTrack struct {
	track    *webrtc.TrackRemote
	receiver *webrtc.RTPReceiver
}

// Publish answers a WHIP offer: the peer becomes the publisher of the media session once it is connected. A publisher
// that was there before goes on until then, and is closed as "replaced".
func (s *SFU) Publish(ctx context.Context, mediaSession string, raw []byte) (Answer, error) {
	o, err := parseOffer(raw, publish)
	if err != nil {
		return Answer{}, err
	}
	if err := s.admitPublisher(mediaSession); err != nil {
		return Answer{}, err
	}
	sess := newSession(publish, mediaSession, o)
	for _, sec := range o.sections {
		keep := sec.specs[0] // the camera's first choice, so that its tracks are known at once
		// Lost packets come again as they were: pion's NACK generator sees them arrive only that way.
		keep.rtx = 0
		sec.narrow(keep, "sendonly")
		sess.specs = append(sess.specs, keep)
	}
	if sess.pc, err = s.engine.connect(publish, sess.specs); err != nil {
		return Answer{}, err
	}
	answer, err := s.setUpPublisher(ctx, sess, o)
	if err != nil {
		_ = sess.pc.GracefulClose()
		return Answer{}, err
	}
	return answer, nil
}

// admitPublisher refuses early what openMedia would refuse after the work.
func (s *SFU) admitPublisher(mediaSession string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch _, exists := s.media[mediaSession]; {
	case s.closed:
		return ErrClosed
	case !exists && len(s.media) >= s.cfg.MaxMediaSessions:
		return ErrLimit
	}
	return nil
}

func (s *SFU) setUpPublisher(ctx context.Context, sess *session, o *offer) (Answer, error) {
	for _, sp := range sess.specs {
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := sess.pc.AddTransceiverFromKind(sp.kind.pion(), init); err != nil {
			return Answer{}, err
		}
	}
	sess.pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.startLayer(sess, remoteTrack{t, r})
	})
	s.watch(sess)
	answer, err := sess.answer(ctx, o)
	if err != nil {
		return Answer{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.openMedia(sess.mediaID)
	if err != nil {
		return Answer{}, err
	}
	if m.pending != nil {
		s.closeSession(m.pending, "replaced")
	}
	m.pending = sess
	s.open(sess, m)
	return answer, nil
}

// startLayer begins to read a publisher's track. Caller holds mu.
func (s *SFU) startLayer(sess *session, r remoteTrack) {
	if sess.closed || sess.layers >= maxLayers {
		return
	}
	if sess.media == nil || sess.media.publisher != sess {
		if len(sess.early) < maxLayers {
			sess.early = append(sess.early, r)
		}
		return
	}
	k := audio
	if r.track.Kind() == webrtc.RTPCodecTypeVideo {
		k = video
	}
	t := sess.media.tracks[k]
	if t == nil {
		return
	}
	sess.layers++
	s.layers++
	ssrc := uint32(r.track.SSRC())
	l := newLayer(t, s.layers, s.cfg.RingSize)
	l.keys = newKeyframes(s.cfg.KeyframeInterval, func() {
		t.counters.keyframeAsks.Add(1)
		_ = sess.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}})
	})
	t.source.Store(l)
	if k == video {
		sess.loops.Go(func() { l.keys.run(sess.done) })
	}
	sess.loops.Go(func() { l.readLoop(r.track, s.clock) })
	sess.loops.Go(func() { l.reportLoop(r.receiver, ssrc, &sess.ntp) })
	if len(*t.fans.Load()) > 0 {
		l.keys.request()
	}
}

func newLayer(t *upTrack, number uint64, ringSize int) *layer {
	if t.spec.kind == audio {
		ringSize /= 4 // 50 packets a second: still seconds of history
	}
	return &layer{track: t, number: number, ring: ring.New(ringSize)}
}

// endPublisher takes a closed session out of its media session, which stays. Caller holds mu.
func (s *SFU) endPublisher(sess *session, reason string) {
	m := sess.media
	if m.pending == sess {
		m.pending = nil
	}
	if m.publisher != sess {
		return
	}
	m.publisher, m.lostAt = nil, now()
	id := m.id
	s.emit(func(o Observer) { o.PublisherDown(id, reason) })
	s.log.Debug("publisher down", slog.String("media_session", id))
}

// ntpClock moves a publisher's NTP time to this node's clock, by one offset for all its tracks, so that lip sync is
// as the camera has it.
type ntpClock struct {
	once   sync.Once
	offset uint64
}

func (c *ntpClock) local(ntp uint64, arrival time.Time) uint64 {
	c.once.Do(func() { c.offset = ntpTime(arrival) - ntp })
	return ntp + c.offset
}

// reportLoop keeps the newest sender report of a layer.
func (l *layer) reportLoop(r *webrtc.RTPReceiver, ssrc uint32, clock *ntpClock) {
	readRTCP(r, func(p rtcp.Packet) {
		if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == ssrc {
			at := time.Now()
			l.report.Store(&senderReport{ntp: clock.local(sr.NTPTime, at), rtp: sr.RTPTime, at: at})
		}
	})
}

// readRTCP calls f for every RTCP packet until r is closed. What is malformed is passed over.
func readRTCP(r packetReader, f func(rtcp.Packet)) {
	buf := make([]byte, receiveMTU)
	for {
		n, _, err := r.Read(buf)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			f(p)
		}
	}
}
