package sfu

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// localTrack binds an up track to a viewer's PeerConnection: pion tells it the stream's numbers and where to write.
type localTrack struct {
	track *upTrack
	spec  spec // the viewer's format
	owner string

	down *downTrack
	sink Sink
	st   stream
	fan  *fan // guarded by SFU.mu
}

// Bind implements webrtc.TrackLocal. Pion calls it while the answer is set, before the session is known to anybody.
func (t *localTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codecs := c.CodecParameters()
	i := slices.IndexFunc(codecs, func(p webrtc.RTPCodecParameters) bool {
		return uint8(p.PayloadType) == t.spec.payloadType
	})
	if i < 0 {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	t.st = stream{ssrc: uint32(c.SSRC()), payloadType: t.spec.payloadType, cname: t.owner}
	if rtx := uint32(c.SSRCRetransmission()); rtx != 0 && t.spec.rtx != 0 {
		t.st.rtxSSRC, t.st.rtxPayloadType = rtx, t.spec.rtx
	}
	t.sink = c.WriteStream()
	return codecs[i], nil
}

// Unbind implements webrtc.TrackLocal.
func (t *localTrack) Unbind(webrtc.TrackLocalContext) error { return nil }

// ID implements webrtc.TrackLocal.
func (t *localTrack) ID() string { return t.track.info.ID }

// RID implements webrtc.TrackLocal.
func (t *localTrack) RID() string { return "" }

// StreamID implements webrtc.TrackLocal. Pion makes it the CNAME of the answer, too.
func (t *localTrack) StreamID() string { return t.owner }

// Kind implements webrtc.TrackLocal.
func (t *localTrack) Kind() webrtc.RTPCodecType { return t.spec.kind.pion() }

// Play answers a WHEP offer: the peer gets what the media session's publisher sends, from the next keyframe on. It
// waits a little for a publisher: viewer and camera are often told to start at the same moment.
func (s *SFU) Play(ctx context.Context, mediaSession, viewer string, raw []byte) (Answer, error) {
	o, err := parseOffer(raw, play)
	if err != nil {
		return Answer{}, err
	}
	m, tracks, err := s.awaitPublisher(ctx, mediaSession)
	if err != nil {
		return Answer{}, err
	}
	sess := newSession(play, mediaSession, o)
	sess.viewer = viewer
	if err := sess.choose(o, tracks); err != nil {
		return Answer{}, err
	}
	if err := s.reserveViewer(); err != nil {
		return Answer{}, err
	}
	answer, err := s.setUpViewer(ctx, sess, o, m)
	if err != nil {
		s.mu.Lock()
		s.viewers--
		s.mu.Unlock()
		return Answer{}, err
	}
	return answer, nil
}

// awaitPublisher returns the media session and the tracks that its publisher sends.
func (s *SFU) awaitPublisher(ctx context.Context, mediaSession string) (*media, [kinds]*upTrack, error) {
	timer := time.NewTimer(s.cfg.PublisherWait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, [kinds]*upTrack{}, ErrClosed
		}
		m, ok := s.media[mediaSession]
		if ok && m.publisher != nil {
			tracks := m.published()
			s.mu.Unlock()
			return m, tracks, nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return nil, [kinds]*upTrack{}, ErrNoPublisher
		case <-ctx.Done():
			return nil, [kinds]*upTrack{}, fmt.Errorf("%w: %w", ErrNoPublisher, ctx.Err())
		}
	}
}

// choose matches the offer's sections with the camera's tracks. A section that the camera has nothing for is answered
// inactive; a track that the viewer cannot decode refuses the offer.
func (sess *session) choose(o *offer, tracks [kinds]*upTrack) error {
	for _, sec := range o.sections {
		t := tracks[sec.kind]
		if t == nil {
			keep := sec.specs[0]
			sec.narrow(keep, "inactive")
			sess.specs = append(sess.specs, keep)
			continue
		}
		keep, ok := match(t.spec, sec.specs)
		if !ok {
			return fmt.Errorf("%w: the camera sends %s", ErrUnsupported, t.spec.mimeType)
		}
		sec.narrow(keep, "recvonly")
		sess.specs = append(sess.specs, keep)
		sess.locals = append(sess.locals, &localTrack{track: t, spec: keep, owner: sess.cname})
	}
	if len(sess.locals) == 0 {
		return fmt.Errorf("%w: the camera sends nothing of what was offered", ErrUnsupported)
	}
	return nil
}

func (s *SFU) reserveViewer() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.viewers >= s.cfg.MaxViewers:
		return ErrLimit
	}
	s.viewers++
	return nil
}

func (s *SFU) setUpViewer(ctx context.Context, sess *session, o *offer, m *media) (Answer, error) {
	pc, err := s.engine.connect(play, sess.specs)
	if err != nil {
		return Answer{}, err
	}
	sess.pc = pc
	answer, err := s.bindViewer(ctx, sess, o, m)
	if err != nil {
		_ = pc.GracefulClose()
		return Answer{}, err
	}
	return answer, nil
}

func (s *SFU) bindViewer(ctx context.Context, sess *session, o *offer, m *media) (Answer, error) {
	init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	for _, t := range sess.locals {
		if _, err := sess.pc.AddTransceiverFromTrack(t, init); err != nil {
			return Answer{}, err
		}
	}
	s.watch(sess)
	answer, err := sess.answer(ctx, o)
	if err != nil {
		return Answer{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Answer{}, ErrClosed
	}
	for _, t := range sess.locals {
		if s.media[m.id] != m || m.tracks[t.spec.kind] != t.track { // ended or changed meanwhile
			return Answer{}, ErrNoPublisher
		}
	}
	m.viewers[sess] = struct{}{}
	s.open(sess, m)
	return answer, nil
}

// mayBlock reports whether writing to the viewer can wait for its network: everything but plain UDP.
func (sess *session) mayBlock() bool {
	pair, err := sess.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	return err != nil || pair == nil ||
		pair.Local.Protocol != webrtc.ICEProtocolUDP || pair.Local.Typ == webrtc.ICECandidateTypeRelay
}

// startViewer puts a connected viewer's tracks on a shard. Caller holds mu.
func (s *SFU) startViewer(sess *session, blocking bool) {
	sh := s.place(sess.media)
	if blocking {
		sess.lane = s.newLane()
		sh = sess.lane
	}
	senders := sess.pc.GetSenders()
	for _, t := range sess.locals {
		d := newDownTrack(t.track, t.st, t.sink, sess.pc.WriteRTCP)
		t.down = d
		t.fan = s.attach(d, sh, func(f *fan) { sh.add(f, d) })
		if i := slices.IndexFunc(senders, func(r *webrtc.RTPSender) bool { return r.Track() == t }); i >= 0 {
			sess.loops.Go(func() { readRTCP(senders[i], sh.feedback(d, s.clock)) })
		}
	}
	id, viewer := sess.mediaID, sess.viewer
	s.emit(func(o Observer) { o.ViewerUp(id, viewer) })
}

// feedback returns what is done with a viewer's RTCP about one track.
func (s *shard) feedback(d *downTrack, clock func() int64) func(rtcp.Packet) {
	return func(p rtcp.Packet) {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			d.track.requestKeyframe()
		case *rtcp.TransportLayerNack:
			if p.MediaSSRC != d.stream.ssrc {
				return
			}
			at := time.Duration(clock())
			if !s.offer(func() { s.retransmit(d, p.Nacks, at) }) {
				d.track.counters.dropped.Add(1)
			}
		}
	}
}

// endViewer takes a closed session off its shard. Caller holds mu.
func (s *SFU) endViewer(sess *session, reason string) {
	m := sess.media
	delete(m.viewers, sess)
	s.viewers--
	for _, t := range sess.locals {
		if t.fan == nil {
			continue
		}
		s.detach(t.down, t.fan)
		if sess.lane == nil {
			sh, f, d := t.fan.shard, t.fan, t.down
			sh.post(func() { sh.remove(f, d) })
		}
	}
	if sess.lane != nil {
		sess.lane.finish(func() {})
	}
	if !sess.connected {
		return
	}
	id, viewer := sess.mediaID, sess.viewer
	s.emit(func(o Observer) { o.ViewerDown(id, viewer, reason) })
}
