package sfu

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/sfu/transport"
)

const (
	// maxStreams bounds the SSRCs of one publisher that are known at a time; one that is silent for streamSilence makes
	// room.
	maxStreams    = 8
	streamSilence = 5 * time.Second
)

// Publish answers a WHIP offer: the peer becomes the publisher of the media session once it is connected. A publisher
// that was there before goes on until then, and is closed as "replaced".
func (s *SFU) Publish(ctx context.Context, mediaSession string, raw []byte) (Answer, error) {
	return s.publish(ctx, mediaSession, raw, false)
}

// PublishTwoWay is Publish for a camera that also hears: an audio section that offers to receive is answered so that
// viewers can talk to it. RFC 9725, section 4.2, knows no such answer, so it must be asked for.
func (s *SFU) PublishTwoWay(ctx context.Context, mediaSession string, raw []byte) (Answer, error) {
	return s.publish(ctx, mediaSession, raw, true)
}

func (s *SFU) publish(ctx context.Context, mediaSession string, raw []byte, twoWay bool) (Answer, error) {
	o, err := parseOffer(raw, publish)
	if err != nil {
		s.noteRefused(mediaSession, SessionStatus{Role: "publish"}, err)
		return Answer{}, err
	}
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	if err := s.admitPublisher(mediaSession); err != nil {
		return Answer{}, err
	}
	sess := newSession(publish, mediaSession, o)
	for _, sec := range o.sections {
		if sec.data {
			s.carry(sess)
			sess.sections = append(sess.sections, sec.answerData())
			continue
		}
		keep := sec.specs[0] // the camera's first choice, so that its tracks are known at once
		sess.specs = append(sess.specs, keep)
		answer := sec.receive(keep, &sess.simulcast)
		if twoWay && sec.kind == audio && o.direction(sec.media) == "sendrecv" {
			sess.listen(keep, &answer)
		}
		sess.sections = append(sess.sections, answer)
	}
	sess.remote = o.remote(0)
	return s.setUpPublisher(sess)
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

// receive answers a section with what is taken from a camera.
func (sec section) receive(sp spec, layers *simulcast) transport.Section {
	s := sec.reject()
	s.Rejected, s.Receive = false, true
	_, s.ReducedSize = sec.media.Attribute("rtcp-rsize")
	s.Codec = sp.codec()
	s.Codec.Feedback = sec.feedback(sp.payloadType)
	if sec.kind == video {
		*layers = readSimulcast(sec.media)
		s.Extensions, s.RIDs = sec.extensions(sp, layers), layers.rids
		return s
	}
	s.Extensions = sec.extensions(sp, &simulcast{})
	return s
}

func (s *SFU) setUpPublisher(sess *session) (Answer, error) {
	if err := s.dial(sess); err != nil {
		return Answer{}, err
	}
	if err := s.admit(sess); err != nil {
		return Answer{}, errors.Join(err, sess.link.Close("refused"))
	}
	return sess.answer(), nil
}

// admit makes a publisher's session known and lets it connect. It takes the place of one that is just connecting.
func (s *SFU) admit(sess *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.openMedia(sess.mediaID)
	if err != nil {
		return err
	}
	if m.pending != nil {
		s.closeSession(m.pending, "replaced")
	}
	m.pending = sess
	sess.board = m.board
	s.open(sess, m)
	return nil
}

// startLayer begins a stream of a publisher that came with a new SSRC, as the layer rid. It returns nil if the publisher
// may have no more, or is none any more. Caller holds sess.ingress.mu, not mu.
func (s *SFU) startLayer(sess *session, k kind, rid string, ssrc uint32, now int64) *layer {
	if !sess.uplink.makeRoom(now) {
		return nil
	}
	if !s.mu.TryLock() {
		return nil // the reader waits for nobody: the stream's next packet tries again
	}
	defer s.mu.Unlock()
	if sess.closed || sess.media == nil || sess.media.publisher != sess {
		return nil
	}
	t := sess.media.tracks[k]
	if t == nil {
		return nil
	}
	s.layers++
	l := newLayer(t, s.layers, s.cfg.RingSize)
	l.epoch, l.rid, l.descriptorAt = sess.number, rid, sess.simulcast.descriptorAt
	l.captureAt, l.clock = sess.captureExtension(k), &sess.uplink.ntp
	l.reception = reception{ssrc: ssrc, clockRate: t.spec.clockRate, plain: t.spec.rtx == 0}
	l.keys = newKeyframes(s.cfg.KeyframeInterval, sess.askFor(t, ssrc))
	sess.uplink.layers = append(sess.uplink.layers, l)
	t.join(l)
	if k == video {
		sess.loops.Go(func() { l.keys.run(sess.done, l.done) })
	}
	t.reconsider()
	return l
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
	s.informer.remove(sess)
	m.intercom.disconnect(sess)
	m.board.leave(sess)
	m.publisher, m.lostAt = nil, now()
	id := m.id
	s.emit(func(o Observer) { o.PublisherDown(id, reason) })
	s.log.Debug("publisher down", slog.String("media_session", id))
}

// ntpClock moves a publisher's NTP time to this node's clock, by one offset for all its tracks, so that lip sync is as
// the camera has it. The offset follows a camera whose clock is a little fast or slow, too slowly for anybody to hear
// that two tracks' reports are not of the same moment. Guarded by the publisher's ingress.mu.
type ntpClock struct {
	set    bool
	offset uint64
}

const (
	// ntpStep is how far a camera's time must be off for its clock to have been set: then the offset is found anew.
	ntpStep = 2 * time.Second
	// ntpSlew is the most by which a report changes the offset, one in ntpShare of what it is off.
	ntpSlew, ntpShare = time.Millisecond / 2, 32
)

// local returns the time on this node's clock of a report that says ntp and was sent at this time.
func (c *ntpClock) local(ntp uint64, sent time.Time) uint64 {
	now := ntpTime(sent)
	off := int64(now - ntp - c.offset)
	if step := int64(ntpDuration(ntpStep)); !c.set || off > step || off < -step {
		c.set, c.offset = true, now-ntp
		return now
	}
	slew := int64(ntpDuration(ntpSlew))
	c.offset += uint64(max(-slew, min(off/ntpShare, slew)))
	return ntp + c.offset
}

// moved returns the time on this node's clock of an NTP time of the camera. It reports false before its first report.
func (c *ntpClock) moved(ntp uint64) (uint64, bool) { return ntp + c.offset, c.set }
