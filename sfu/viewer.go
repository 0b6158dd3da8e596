package sfu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/transport"
)

// viewerTrack is one up track on its way to one viewer.
type viewerTrack struct {
	track *upTrack
	spec  spec // the viewer's format
	st    stream
	sink  *sealed
	takes extensions
	// numberAt is the header extension for transport-wide numbers, 0 if the viewer takes none. It is written once the way
	// is watched.
	numberAt uint8

	down *downTrack
	fan  *fan // guarded by SFU.mu

	reported reported // by the viewer
}

func newViewerTrack(t *upTrack, sp spec, cname string) *viewerTrack {
	v := &viewerTrack{track: t, spec: sp, st: stream{ssrc: 1 + rand.Uint32N(math.MaxUint32-1), payloadType: sp.payloadType, cname: cname}}
	if sp.rtx != 0 {
		// A stream of its own for retransmissions: another packet index, so that no nonce is ever used twice.
		v.st.rtxSSRC, v.st.rtxPayloadType = v.st.ssrc+1, sp.rtx
	}
	return v
}

// Play answers a WHEP offer: the peer gets what the media session's publisher sends, from the next keyframe on. It
// waits a little for a publisher: viewer and camera are often told to start at the same moment. wish is what it wants to
// begin with.
func (s *SFU) Play(ctx context.Context, mediaSession, viewer string, wish Preference, raw []byte) (Answer, error) {
	if !wish.valid() {
		return Answer{}, errPreference
	}
	o, err := parseOffer(raw, play)
	if err != nil {
		s.noteRefused(mediaSession, SessionStatus{Role: "play", Viewer: viewer}, err)
		return Answer{}, err
	}
	m, tracks, err := s.awaitPublisher(ctx, mediaSession)
	if err != nil {
		return Answer{}, err
	}
	sess := newSession(play, mediaSession, o)
	sess.viewer = viewer
	sess.seat.wish.Store(&wish)
	if o.hasData() {
		s.carry(sess)
	}
	if err := sess.choose(o, tracks, m.intercom); err != nil {
		s.noteRefused(mediaSession, sess.brief(), err)
		return Answer{}, err
	}
	sess.agreeOnWay(o)
	for _, t := range sess.tracks {
		t.track.warm(wish, sess.promised)
	}
	if err := s.reserveViewer(); err != nil {
		return Answer{}, err
	}
	answer, err := s.setUpViewer(ctx, sess, m)
	if err != nil {
		s.mu.Lock()
		s.countViewers(-1)
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

// choose matches the offer's sections with the camera's tracks. A section that the camera has nothing for is rejected;
// a track that the viewer cannot decode refuses the offer.
func (sess *session) choose(o *offer, tracks [kinds]*upTrack, i *intercom) error {
	first := -1 // the section whose transport all share: RFC 9143, section 7.3
	for n, sec := range o.sections {
		if sec.data {
			sess.sections = append(sess.sections, sec.answerData())
			if first < 0 {
				first = n
			}
			continue
		}
		t := tracks[sec.kind]
		if t == nil {
			sess.sections = append(sess.sections, sec.reject())
			continue
		}
		keep, ok := match(t.spec, sec.specs)
		if !ok {
			return fmt.Errorf("%w: the camera sends %s", errCodec, t.spec.mimeType)
		}
		v := newViewerTrack(t, keep, sess.cname)
		for sess.shares(v.st) { // one index space a stream: no two may have one SSRC
			v = newViewerTrack(t, keep, sess.cname)
		}
		sess.tracks = append(sess.tracks, v)
		answer := sec.accept(v)
		if sec.kind == audio && o.direction(sec.media) == "sendrecv" && i.listens() {
			answer.Both, sess.intercom, sess.talk = true, i, keep.payloadType
		}
		sess.sections = append(sess.sections, answer)
		if first < 0 {
			first = n
		}
	}
	if len(sess.tracks) == 0 {
		return fmt.Errorf("%w: the camera sends nothing of what was offered", ErrUnsupported)
	}
	sess.remote = o.remote(first)
	return nil
}

// agreeOnWay agrees on what it takes to know the way to the viewer: transport-wide numbers and feedback, else the
// viewer's own estimate. Whether there will be something to choose nobody knows yet: spatial layers within a stream show
// in its packets, and a camera may come back with more than it had. Until then nothing is numbered, and so nothing fed
// back: for a single layer that would cost more than the media.
func (sess *session) agreeOnWay(o *offer) {
	accepted := 0
	for i, sec := range o.sections {
		s := &sess.sections[i]
		if s.Rejected {
			continue
		}
		id := sec.extension(sdp.TransportCCURI)
		if id != 0 && slices.Contains(s.Codec.Feedback, transport.FeedbackTransportCC) {
			s.Extensions = append(s.Extensions, transport.Extension{ID: id, URI: sdp.TransportCCURI})
			sess.tracks[accepted].numberAt = id
			sess.promised = true
		} else {
			s.Estimates = true
			sess.promised = sess.promised || slices.Contains(s.Codec.Feedback, transport.FeedbackREMB)
		}
		accepted++
	}
}

// shares reports whether the viewer already has a stream with an SSRC of st.
func (sess *session) shares(st stream) bool {
	for _, t := range sess.tracks {
		if d := int64(t.st.ssrc) - int64(st.ssrc); d >= -1 && d <= 1 {
			return true
		}
	}
	return false
}

// reject answers a section that there is nothing for.
func (sec section) reject() transport.Section {
	mid, _ := sec.media.Attribute("mid")
	return transport.Section{
		Rejected: true, Kind: sec.kind.String(), MID: mid, Proto: strings.Join(sec.media.MediaName.Protos, "/"),
		Codec: sec.specs[0].codec(),
	}
}

// accept answers a section with what a viewer is sent.
func (sec section) accept(v *viewerTrack) transport.Section {
	s := sec.reject()
	s.Rejected = false
	_, s.ReducedSize = sec.media.Attribute("rtcp-rsize")
	s.Codec = v.spec.codec()
	s.Codec.Feedback = sec.feedback(v.spec.payloadType)
	s.SSRC, s.RTXSSRC = v.st.ssrc, v.st.rtxSSRC
	take := func(uri string) uint8 {
		id := sec.extension(uri)
		if id != 0 {
			s.Extensions = append(s.Extensions, transport.Extension{ID: id, URI: uri})
		}
		return id
	}
	if v.spec.mimeType == webrtc.MimeTypeAV1 {
		v.takes.descriptorAt = take(uriDescriptor)
	}
	if sec.kind == video {
		v.takes.delayAt = take(uriPlayoutDelay)
	}
	v.takes.captureAt = take(uriCaptureTime)
	s.CNAME, s.Stream, s.Track = v.st.cname, v.st.cname, v.track.info.ID
	return s
}

// codec is the format in the words of an answer.
func (sp spec) codec() transport.Codec {
	_, name, _ := strings.Cut(sp.mimeType, "/")
	return transport.Codec{
		PayloadType: sp.payloadType, Name: name, ClockRate: sp.clockRate, Channels: sp.channels, Fmtp: sp.fmtp, RTX: sp.rtx,
	}
}

// feedback returns what the peer offers to send about a format: RFC 4585, section 4.2.
func (sec section) feedback(payloadType uint8) []string {
	var out []string
	for _, a := range sec.media.Attributes {
		if a.Key != "rtcp-fb" {
			continue
		}
		pt, value, _ := strings.Cut(a.Value, " ")
		if pt == "*" || pt == strconv.Itoa(int(payloadType)) {
			out = append(out, strings.TrimSpace(value))
		}
	}
	return out
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
	s.countViewers(1)
	return nil
}

// countViewers takes a WHEP session that comes, or goes, into account. Caller holds mu.
func (s *SFU) countViewers(change int) {
	s.viewers += change
	s.socket.hurry(s.viewers > 0)
}

func (s *SFU) setUpViewer(ctx context.Context, sess *session, m *media) (Answer, error) {
	if err := s.dial(sess); err != nil {
		return Answer{}, err
	}
	if err := s.admitViewer(ctx, sess, m); err != nil {
		return Answer{}, errors.Join(err, sess.link.Close("refused"))
	}
	return sess.answer(), nil
}

// admitViewer makes the session known, unless what it was promised is gone, and lets it connect.
func (s *SFU) admitViewer(ctx context.Context, sess *session, m *media) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, t := range sess.tracks {
		if s.media[m.id] != m || m.tracks[t.spec.kind] != t.track { // ended or changed meanwhile
			return ErrNoPublisher
		}
	}
	s.makeRoom(m, sess.viewer)
	m.viewers[sess] = struct{}{}
	m.sessions[sess.viewer]++
	sess.board = m.board
	m.board.join(sess)
	s.open(sess, m)
	return nil
}

// makeRoom ends the oldest session of a viewer that has too many, so that nobody takes all seats of the node. Players
// reconnect, and what they left behind takes seconds to be noticed. Caller holds mu.
func (s *SFU) makeRoom(m *media, viewer string) {
	if m.sessions[viewer] < s.cfg.MaxViewerSessions {
		return
	}
	var oldest *session
	for v := range m.viewers {
		if v.viewer == viewer && (oldest == nil || v.number < oldest.number) {
			oldest = v
		}
	}
	s.closeSession(oldest, "replaced")
}

// startViewer puts a connected viewer's tracks on a shard: one of its own if it can only be reached in a way that may
// block, and apart from the others if it costs more than they do. Caller holds mu.
func (s *SFU) startViewer(sess *session) {
	var sh *shard
	switch {
	case !sess.link.RemoteAddr().IsValid():
		sess.lane = s.newLane(false)
		sess.link.SetPatient(true)
		sh = sess.lane
	case sess.costly:
		sh = s.costly
	default:
		sh = s.place(sess.media)
	}
	sess.egress.shard = sh
	sess.seat.layered = sess.media.publisher != nil && sess.media.publisher.simulcast.several()
	sess.seat.watch = func() { sess.watchWay(sh, &s.ways) }
	for _, t := range sess.tracks {
		t.sink = &sealed{egress: sess.egress, ssrc: t.st.ssrc, extensions: t.takes}
		d := newDownTrack(t.track, t.st, t.sink, sess.seat)
		d.egress, d.pads, d.instant = sess.egress, t.st.rtxPayloadType != 0, true
		if t.takes.descriptorAt|t.takes.delayAt|t.takes.captureAt != 0 {
			d.extensions = &t.sink.extensions
		}
		d.flat = t.takes.descriptorAt == 0 && t.spec.mimeType == webrtc.MimeTypeAV1
		t.down = d
	}
	for _, t := range sess.tracks { // the shard may look at all of them as soon as it has one
		t.fan = s.attach(t.down, sh, func(f *fan) { sh.add(f, t.down) })
	}
	sess.shard.Store(sh)
	id, viewer := sess.mediaID, sess.viewer
	s.emit(func(o Observer) { o.ViewerUp(id, viewer) })
}

// endViewer takes a closed session off its shard. Caller holds mu.
func (s *SFU) endViewer(sess *session, reason string) {
	m := sess.media
	delete(m.viewers, sess)
	if m.sessions[sess.viewer]--; m.sessions[sess.viewer] == 0 {
		delete(m.sessions, sess.viewer)
	}
	m.intercom.disconnect(sess)
	m.board.leave(sess)
	s.countViewers(-1)
	s.part(sess)
	if !sess.connected {
		return
	}
	id, viewer := sess.mediaID, sess.viewer
	s.emit(func(o Observer) { o.ViewerDown(id, viewer, reason) })
}

// part takes a viewer's tracks off its shard, which says goodbye. Caller holds mu.
func (s *SFU) part(sess *session) {
	sh := sess.shard.Load()
	if sh == nil {
		return
	}
	tracks, parted, lane := sess.tracks, make(chan struct{}), sess.lane != nil
	sess.parted = parted
	for _, t := range tracks {
		s.detach(t.down, t.fan)
	}
	last := func() {
		for _, t := range tracks {
			if !lane { // a lane ends with its viewer
				sh.remove(t.fan, t.down)
			}
			t.down.bye()
		}
		if way := sess.egress.congestion.Load(); way != nil {
			sh.unwatch(way)
		}
		sh.flush()
		close(parted)
	}
	if lane {
		sh.finish(last)
	} else {
		sh.post(last)
	}
}
