package turn

import (
	"maps"
	"sync"
	"time"
)

// Revoke closes the allocations of those whom p covers, an empty name standing
// for any, and refuses credentials that were issued for them until at. It is
// remembered until such credentials have expired, which takes the TTL that they
// were issued with. Revoke calls nothing of the library: a relay whose socket is
// closed ends its allocation from its own goroutine.
func (s *Server) Revoke(p Principal, at time.Time, ttl time.Duration) {
	if expires := at.Add(ttl); s.now().Before(expires) {
		s.revoked.add(p, at, expires, s.now())
	}
	s.stats.revoked.Add(uint64(s.relays.closeThose(p)))
}

// closeThose closes the relays of those whom p covers.
func (r *relays) closeThose(p Principal) int {
	r.mu.RLock()
	var those []*relayConn
	for _, relay := range r.known {
		if p.covers(relay.principal) {
			those = append(those, relay)
		}
	}
	r.mu.RUnlock()
	for _, relay := range those {
		relay.Close() //nolint:errcheck // Close of a relay answers nil
	}
	return len(those)
}

// revocations are the principals whose credentials do not hold any more.
type revocations struct {
	mu    sync.RWMutex // guards what follows
	until map[Principal]revocation
	sweep int // how many there may be before the expired ones go
}

const minSweep = 64

type revocation struct {
	issued  time.Time // until when credentials were issued that do not hold
	expires time.Time // when the last of them has expired
}

func (r *revocations) add(p Principal, issued, expires, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[Principal]revocation{}
	}
	if len(r.until) >= r.sweep {
		maps.DeleteFunc(r.until, func(_ Principal, v revocation) bool { return now.After(v.expires) })
		r.sweep = 2*len(r.until) + minSweep
	}
	if v := r.until[p]; issued.After(v.issued) {
		r.until[p] = revocation{issued: issued, expires: expires}
	}
}

// covers says whether credentials were revoked: as the user's, the device's, or
// the device's for one camera.
func (r *revocations) covers(h holder) bool {
	p := h.principal
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, whose := range [...]Principal{
		{User: p.User},
		{Device: p.Device},
		{User: p.User, Device: p.Device},
		{Device: p.Device, Camera: p.Camera},
		p,
	} {
		if v, ok := r.until[whose]; ok && !h.issued.After(v.issued) {
			return true
		}
	}
	return false
}
