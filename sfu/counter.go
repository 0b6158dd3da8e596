package sfu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/transport"
)

const (
	// offerLife is how long a counter-offer may be answered: draft-ietf-wish-whep, section 4.3.2.
	offerLife = 30 * time.Second
	// maxCounterOffers bounds those that nobody has answered.
	maxCounterOffers = 64
)

// Payload types of counter-offers, those that browsers use.
const (
	offeredAudio, offeredVideo, offeredRTX = 111, 96, 97
)

// Numbers of header extensions in counter-offers: one for one URI in all sections (RFC 8843, section 9.2).
const (
	offeredNumber uint8 = iota + 1
	offeredDelay
	offeredCapture
	offeredDescriptor
)

// counterOffer is an offer of ours that waits for its answer.
type counterOffer struct {
	answered chan struct{} // closed when the peer is known
	until    time.Time
}

// CounterOffer offers a viewer what the media session's publisher sends, for a player whose own offer could not be
// served (draft-ietf-wish-whep, section 4.3.2). It holds until the time that is returned; Accept takes the answer. wish is
// as for Play.
func (s *SFU) CounterOffer(ctx context.Context, mediaSession, viewer string, wish Preference) (Answer, time.Time, error) {
	if !wish.valid() {
		return Answer{}, time.Time{}, errPreference
	}
	m, tracks, err := s.awaitPublisher(ctx, mediaSession)
	if err != nil {
		return Answer{}, time.Time{}, err
	}
	sess := newOffering(mediaSession, viewer)
	sess.seat.wish.Store(&wish)
	for _, t := range tracks {
		if t != nil {
			sess.propose(t)
		}
	}
	if err := s.reserveViewer(); err != nil {
		return Answer{}, time.Time{}, err
	}
	if err := s.setUpOffering(ctx, sess, m); err != nil {
		s.mu.Lock()
		s.countViewers(-1)
		s.mu.Unlock()
		return Answer{}, time.Time{}, err
	}
	return sess.answer(), sess.counter.until, nil
}

func newOffering(mediaSession, viewer string) *session {
	sess := &session{
		id: secret(), cname: secret()[:12], role: play, mediaID: mediaSession, viewer: viewer, bundled: true, mixed: true,
		done: make(chan struct{}), seat: newSeat(),
		counter: &counterOffer{answered: make(chan struct{}), until: time.Now().Add(offerLife)},
	}
	sess.ice.begin("", "")
	return sess
}

// propose adds a track to the offer.
func (sess *session) propose(t *upTrack) {
	sp := t.spec
	feedback := []string{"nack", "nack pli", "ccm fir"}
	if sp.payloadType, sp.rtx = offeredVideo, offeredRTX; sp.kind == audio {
		sp.payloadType, sp.rtx, feedback = offeredAudio, 0, nil
	}
	v := newViewerTrack(t, sp, sess.cname)
	for sess.shares(v.st) {
		v = newViewerTrack(t, sp, sess.cname)
	}
	extensions := []transport.Extension{{ID: offeredCapture, URI: uriCaptureTime}}
	if sp.kind == video {
		extensions = append(extensions, transport.Extension{ID: offeredDelay, URI: uriPlayoutDelay})
	}
	if sp.mimeType == webrtc.MimeTypeAV1 {
		extensions = append(extensions, transport.Extension{ID: offeredDescriptor, URI: uriDescriptor})
	}
	// As in agreeOnWay.
	extensions = append(extensions, transport.Extension{ID: offeredNumber, URI: sdp.TransportCCURI})
	feedback = append(feedback, transport.FeedbackTransportCC, transport.FeedbackREMB)
	c := sp.codec()
	c.Feedback = feedback
	sess.sections = append(sess.sections, transport.Section{
		Kind: sp.kind.String(), MID: fmt.Sprint(len(sess.tracks)), Codec: c, ReducedSize: true, SSRC: v.st.ssrc, RTXSSRC: v.st.rtxSSRC,
		CNAME: v.st.cname, Stream: v.st.cname, Track: t.info.ID, Extensions: extensions, Estimates: true,
	})
	sess.tracks = append(sess.tracks, v)
}

func (s *SFU) setUpOffering(ctx context.Context, sess *session, m *media) (err error) {
	if sess.link, err = transport.Offer(s.transportOf(sess)); err != nil {
		return err
	}
	if err = s.admitOffering(); err == nil {
		err = s.admitViewer(ctx, sess, m)
		if err != nil {
			s.forgetOffer()
		}
	}
	if err != nil {
		return errors.Join(err, sess.link.Close("refused"))
	}
	return nil
}

// admitOffering takes one of the places for offers that wait.
func (s *SFU) admitOffering() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offers >= maxCounterOffers {
		return ErrLimit
	}
	s.offers++
	return nil
}

// unanswered reports whether the session is an offer of ours that waits for its answer.
func (sess *session) unanswered() bool {
	if sess.counter == nil {
		return false
	}
	select {
	case <-sess.counter.answered:
		return false
	default:
		return true
	}
}

func (s *SFU) forgetOffer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers--
}

// awaitAnswer waits until a counter-offer is answered. It reports false if the session ended before, or nobody came.
func (s *SFU) awaitAnswer(sess *session) bool {
	defer s.forgetOffer()
	timer := time.NewTimer(time.Until(sess.counter.until))
	defer timer.Stop()
	select {
	case <-sess.counter.answered:
		return true
	case <-sess.done:
	case <-timer.C:
	}
	return false
}

// Accept takes the answer to a counter-offer, of which every section must be taken: there are no half sessions. After
// one that is refused, another may come.
func (s *SFU) Accept(_ context.Context, sessionID string, raw []byte) error {
	s.mu.Lock()
	sess, ok := s.sessions[sessionID]
	s.mu.Unlock()
	if !ok {
		return ErrNotFound
	}
	if sess.counter == nil {
		return fmt.Errorf("%w: nothing was offered", ErrUnsupported)
	}
	o, err := parseOffer(raw, play)
	if err != nil {
		return err
	}
	sess.ice.mu.Lock()
	defer sess.ice.mu.Unlock()
	select {
	case <-sess.counter.answered:
		return fmt.Errorf("%w: the offer has been answered", ErrUnsupported)
	default:
	}
	taken, err := sess.taken(o)
	if err != nil {
		return err
	}
	err = sess.link.Answered(o.remote(0))
	if errors.Is(err, transport.ErrRemote) {
		return fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	if err != nil {
		return err
	}
	for i, sp := range taken {
		if sp.rtx == 0 {
			sess.tracks[i].st.rtxSSRC, sess.tracks[i].st.rtxPayloadType = 0, 0
		}
		sess.agree(o, i)
	}
	sess.ice.begin(o.ufrag, o.attribute(o.sections[0].media, "ice-pwd"))
	s.mu.Lock()
	sess.since = now() // until then nothing could connect
	s.mu.Unlock()
	close(sess.counter.answered)
	return nil
}

// agree notes what an answer takes of a section's header extensions, and what it will tell of the way.
func (sess *session) agree(o *offer, i int) {
	sec, v := o.sections[i], sess.tracks[i]
	took := func(id uint8, uri string) uint8 {
		if sec.extension(uri) != id {
			return 0
		}
		return id
	}
	v.takes.captureAt = took(offeredCapture, uriCaptureTime)
	if v.spec.kind == video {
		v.takes.delayAt = took(offeredDelay, uriPlayoutDelay)
	}
	if v.spec.mimeType == webrtc.MimeTypeAV1 && o.mixed() {
		v.takes.descriptorAt = took(offeredDescriptor, uriDescriptor)
	}
	tells := sec.feedback(v.spec.payloadType)
	if slices.Contains(tells, transport.FeedbackTransportCC) {
		v.numberAt = took(offeredNumber, sdp.TransportCCURI)
	}
	sess.promised = sess.promised || v.numberAt != 0 || slices.Contains(tells, transport.FeedbackREMB)
}

// taken returns the format of each section that the answer takes.
func (sess *session) taken(o *offer) ([]spec, error) {
	if len(o.sections) != len(sess.sections) {
		return nil, fmt.Errorf("%w: %d media sections were offered", ErrBadOffer, len(sess.sections))
	}
	var out []spec
	for i, sec := range o.sections {
		mid, _ := sec.media.Attribute("mid")
		if mid != sess.sections[i].MID || sec.kind != sess.tracks[i].spec.kind || !receives(o.desc, sec.media) {
			return nil, fmt.Errorf("%w: section %d is not the one that was offered", ErrBadOffer, i)
		}
		j := slices.IndexFunc(sec.specs, func(sp spec) bool { return sp.payloadType == sess.tracks[i].spec.payloadType })
		if j < 0 {
			return nil, fmt.Errorf("%w: the camera sends %s", errCodec, sess.tracks[i].spec.mimeType)
		}
		if _, ok := match(sess.tracks[i].track.spec, sec.specs[j:j+1]); !ok {
			return nil, fmt.Errorf("%w: the camera sends %s", errCodec, sess.tracks[i].spec.mimeType)
		}
		out = append(out, sec.specs[j])
	}
	return out, nil
}

// receives reports whether a section of an answer is recvonly.
func receives(d *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	direction := "sendrecv"
	for _, a := range append(slices.Clone(d.Attributes), m.Attributes...) {
		if isDirection(a.Key) {
			direction = a.Key
		}
	}
	return direction == "recvonly"
}
