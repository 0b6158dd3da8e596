package sfu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/time/rate"

	"github.com/securecam/securecam/sfu/transport"
)

// How often a session may be updated, a second and at once. A browser sends a handful of candidates; a phone that walks
// through a building restarts ICE once in seconds.
const (
	updatesPerSecond, updatesAtOnce   = 10, 50
	restartsPerSecond, restartsAtOnce = 0.5, 6
)

// Update is a request to change what is known of a session's ICE: RFC 9725, section 4.3.
type Update struct {
	// Any accepts whatever ICE session is current; otherwise one of ETags must be its.
	Any   bool
	ETags []string
	// Fragment is the application/trickle-ice-sdpfrag body.
	Fragment []byte
}

// Updated is the result of an update. Both are empty when candidates were added; after an ICE restart they are the
// entity-tag of the new ICE session and our part of it.
type Updated struct {
	ETag     string
	Fragment []byte
}

// iceSession is the ICE session that a session is in: a restart begins another. The mutex serialises updates.
type iceSession struct {
	mu         sync.Mutex
	etag       string // quoted, strong
	ufrag, pwd string // the peer's
	candidates int    // taken from fragments
	restarted  []byte // what answered the restart that it began with

	updates, restarts *rate.Limiter
}

// begin is called for the first ICE session and for each that follows.
func (i *iceSession) begin(ufrag, pwd string) {
	i.etag, i.ufrag, i.pwd, i.candidates = `"`+secret()+`"`, ufrag, pwd, 0
	if i.updates == nil {
		i.updates = rate.NewLimiter(updatesPerSecond, updatesAtOnce)
		i.restarts = rate.NewLimiter(restartsPerSecond, restartsAtOnce)
	}
}

// Update adds the peer's candidates to the ICE session, or begins a new one when the fragment has other ICE credentials.
// Candidates that cannot be used are dropped silently (RFC 9725, section 4.3.2). Media goes on through a restart, and
// one that fails changes nothing.
func (s *SFU) Update(ctx context.Context, sessionID string, u Update) (Updated, error) {
	s.mu.Lock()
	sess, ok := s.sessions[sessionID]
	s.mu.Unlock()
	if !ok {
		return Updated{}, ErrNotFound
	}
	f, err := parseFragment(u.Fragment)
	if err != nil {
		return Updated{}, err
	}
	sess.ice.mu.Lock()
	defer sess.ice.mu.Unlock()
	switch i := &sess.ice; {
	case i.ufrag == "":
		return Updated{}, fmt.Errorf("%w: the offer has not been answered", ErrUnsupported)
	case !i.updates.Allow():
		return Updated{}, ErrTooMany
	case !u.Any && !slices.Contains(u.ETags, i.etag):
		return Updated{}, ErrStale
	case f.ufrag == "" || f.ufrag == i.ufrag && (f.pwd == "" || f.pwd == i.pwd):
		return sess.trickle(f, u.Any), nil
	case f.pwd == "" || f.ufrag == i.ufrag || f.pwd == i.pwd: // RFC 8839, section 4.4.1.1.1: both change
		return Updated{}, fmt.Errorf("%w: an ICE restart needs a new ice-ufrag and a new ice-pwd", ErrBadOffer)
	case !i.restarts.Allow():
		return Updated{}, ErrTooMany
	}
	return sess.restart(ctx, f)
}

// trickle adds candidates. A client that did not hear the answer to its restart and asks again gets it again. Caller
// holds ice.mu.
func (sess *session) trickle(f fragment, anySession bool) Updated {
	sess.addCandidates(f)
	if anySession && f.pwd != "" && sess.ice.restarted != nil {
		return Updated{ETag: sess.ice.etag, Fragment: sess.ice.restarted}
	}
	return Updated{}
}

// restart begins a new ICE session. Caller holds ice.mu.
func (sess *session) restart(ctx context.Context, f fragment) (Updated, error) {
	local, err := sess.link.Restart(ctx, f.ufrag, f.pwd)
	switch {
	case errors.Is(err, transport.ErrClosed):
		return Updated{}, ErrNotFound
	case errors.Is(err, transport.ErrRemote):
		return Updated{}, fmt.Errorf("%w: %w", ErrBadOffer, err)
	case err != nil:
		return Updated{}, err
	}
	sess.ice.begin(f.ufrag, f.pwd)
	sess.ice.restarted = transport.BuildFragment(transport.Answer{
		Bundle: sess.bundled, Local: local, Sections: sess.sections,
	})
	sess.addCandidates(f)
	return Updated{ETag: sess.ice.etag, Fragment: sess.ice.restarted}, nil
}

// addCandidates gives the fragment's candidates to ICE. Caller holds ice.mu.
func (sess *session) addCandidates(f fragment) {
	for _, c := range f.candidates {
		if sess.ice.candidates >= maxCandidates {
			return
		}
		sess.ice.candidates++
		// It may be of a kind that is not known, or the session may just have closed: dropped either way.
		_ = sess.link.AddCandidate("candidate:" + c)
	}
}
