package sfu

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/transport"
)

// session is one WHIP or WHEP session. A publisher has a PeerConnection, a viewer, of which there are many, only what
// of it a viewer needs.
type session struct {
	id, etag string
	cname    string // of a viewer's tracks
	role     role
	mediaID  string
	viewer   string // the viewer's name, for play
	ufrag    string // the peer's
	specs    []spec
	pc       *webrtc.PeerConnection // of a publisher
	link     *transport.Transport   // of a viewer
	done     chan struct{}          // closed with the session
	loops    sync.WaitGroup         // goroutines that read from pc

	// Guarded by SFU.mu.
	media      *media
	candidates int // taken from trickle fragments
	connected  bool
	closed     bool
	timer      *time.Timer // ends the session if it does not connect

	// Publisher only, guarded by SFU.mu.
	early  []remoteTrack // tracks that came before the session was adopted
	layers int

	// Publisher only.
	ntp ntpClock

	// Viewer only.
	ingress
	egress   *egress
	tracks   []*viewerTrack
	sections []transport.Section // the answer
	remote   transport.Remote    // the offer
	lane     *shard              // nil on a shared shard; guarded by SFU.mu
}

func newSession(r role, mediaSession string, o *offer) *session {
	return &session{
		id: secret(), etag: `"` + secret() + `"`, cname: secret()[:12], role: r, mediaID: mediaSession, ufrag: o.ufrag,
		done: make(chan struct{}),
	}
}

// answer runs the offer through the session's PeerConnection and waits until all server candidates are in the answer
// (RFC 9725, section 4.3.1: there is no trickle from the server).
func (sess *session) answer(ctx context.Context, o *offer) (Answer, error) {
	raw, err := o.desc.Marshal()
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	offered := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(raw)}
	if err := sess.pc.SetRemoteDescription(offered); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	local, err := sess.pc.CreateAnswer(nil)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	gathered := webrtc.GatheringCompletePromise(sess.pc)
	if err := sess.pc.SetLocalDescription(local); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	final := sess.pc.LocalDescription()
	parsed, err := final.Unmarshal()
	if err != nil {
		return Answer{}, fmt.Errorf("sfu: own answer: %w", err)
	}
	for _, m := range parsed.MediaDescriptions {
		if m.MediaName.Port.Value == 0 { // RFC 9725, section 4.4.1: no partial success
			return Answer{}, fmt.Errorf("%w: %s", ErrUnsupported, m.MediaName.Media)
		}
	}
	if !o.bundled { // RFC 5888, section 9.2: no group in the answer that was not in the offer
		parsed.Attributes = slices.DeleteFunc(parsed.Attributes, func(a sdp.Attribute) bool { return a.Key == "group" })
	}
	answer, err := parsed.Marshal()
	if err != nil {
		return Answer{}, fmt.Errorf("sfu: own answer: %w", err)
	}
	return Answer{SessionID: sess.id, SDP: answer, ETag: sess.etag}, nil
}

// watch follows the PeerConnection's state. Pion calls the handler from goroutines of its own, not always in order:
// every outcome is final, so order does not matter.
func (s *SFU) watch(sess *session) {
	sess.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state { //nolint:exhaustive // the other states are on the way to these
		case webrtc.PeerConnectionStateConnected:
			s.connected(sess)
		case webrtc.PeerConnectionStateFailed:
			s.lost(sess, "connection_lost")
		case webrtc.PeerConnectionStateClosed: // DTLS close_notify; our own closing came here before
			s.lost(sess, "peer_closed")
		}
	})
}

// open makes the session known. Caller holds mu.
func (s *SFU) open(sess *session, m *media) {
	sess.media = m
	s.sessions[sess.id] = sess
	sess.timer = time.AfterFunc(s.cfg.ConnectTimeout, func() { s.lost(sess, "connect_timeout") })
}

// connected is called when ICE and DTLS are up.
func (s *SFU) connected(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.closed || sess.connected || sess.media == nil {
		return
	}
	sess.connected = true
	sess.timer.Stop()
	if sess.role == publish {
		s.adopt(sess.media, sess)
	} else {
		s.startViewer(sess)
	}
	s.log.Info("peer connected", sess.attrs()...)
}

// lost ends a session that the peer or the network ended.
func (s *SFU) lost(sess *session, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.media == nil { // not known yet: whoever sets it up fails by itself
		return
	}
	if !sess.connected && reason == "connection_lost" {
		reason = "connect_failed"
	}
	s.closeSession(sess, reason)
}

// closeSession ends a session: nothing goes in or out of it any more. Its PeerConnection is closed in the
// background, because that waits for pion's goroutines. Caller holds mu.
func (s *SFU) closeSession(sess *session, reason string) {
	if sess.closed {
		return
	}
	sess.closed = true
	sess.timer.Stop()
	delete(s.sessions, sess.id)
	close(sess.done)
	if sess.role == publish {
		s.endPublisher(sess, reason)
	} else {
		s.endViewer(sess, reason)
	}
	s.log.Info("peer gone", append(sess.attrs(), slog.String("reason", reason))...)
	s.sessionsDone.Go(func() { sess.shut(s.engine.socket, reason) })
}

// shut closes the connection and waits for everything that reads from it.
func (sess *session) shut(socket *socket, reason string) {
	if sess.role == publish {
		_ = sess.pc.GracefulClose()
	} else {
		sess.unfollow(socket)
		_ = sess.link.Close(reason)
	}
	sess.loops.Wait()
}

// addCandidate takes a candidate of the peer. One of a kind that is not known is dropped, as is any when the session
// has just closed.
func (sess *session) addCandidate(line string) {
	if sess.role == publish {
		_ = sess.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: line})
		return
	}
	_ = sess.link.AddCandidate(line)
}

func (sess *session) attrs() []any {
	attrs := []any{slog.String("media_session", sess.mediaID)}
	if sess.role == play {
		attrs = append(attrs, slog.String("viewer", sess.viewer))
	}
	return attrs
}

// Trickle adds the remote candidates of an application/trickle-ice-sdpfrag body to a session. What cannot be used is
// dropped silently (RFC 9725, section 4.3.1).
func (s *SFU) Trickle(ctx context.Context, sessionID string, raw []byte) error {
	f, err := parseFragment(raw)
	if err != nil {
		return err
	}
	s.mu.Lock()
	sess, ok := s.sessions[sessionID]
	if !ok {
		s.mu.Unlock()
		return ErrNotFound
	}
	f.candidates = f.candidates[:min(len(f.candidates), maxCandidates-sess.candidates)]
	sess.candidates += len(f.candidates)
	s.mu.Unlock()
	if f.ufrag != "" && f.ufrag != sess.ufrag {
		return fmt.Errorf("%w: ICE restart", ErrUnsupported)
	}
	for _, c := range f.candidates {
		if err := ctx.Err(); err != nil {
			return err
		}
		sess.addCandidate("candidate:" + c)
	}
	return nil
}
