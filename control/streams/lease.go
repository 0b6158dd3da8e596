package streams

import (
	"context"
	"time"

	"github.com/securecam/securecam/store"
)

// lease is when another node said last that it runs, and when this process
// first saw that: only their own clock tells nodes how long something took.
type lease struct {
	renewed time.Time
	seen    time.Time
}

// renew says that this node runs.
func (s *Service) renew(ctx context.Context, now time.Time) error {
	if now.Sub(s.renewed) < s.cfg.RenewInterval {
		return nil
	}
	if err := s.store.RenewMediaSessions(ctx, s.cfg.NodeID, now); err != nil {
		return err
	}
	s.renewed = now
	return nil
}

// endAbandoned ends media sessions whose node does not come back. Nobody else
// would: their cameras could not publish again.
func (s *Service) endAbandoned(ctx context.Context, v *view) error {
	s.lookAtNodes(v)
	for _, m := range v.sessions {
		l, others := s.leases[m.NodeID]
		if !others || v.now.Sub(l.seen) < s.cfg.LeaseTimeout {
			continue
		}
		if v.endings == 0 {
			return nil
		}
		v.endings--
		if err := lost(s.endMedia(ctx, m.ID, store.ReasonCameraLost, store.Actor{})); err != nil {
			return err
		}
	}
	return nil
}

// lookAtNodes renews the leases of other nodes and forgets those that have
// nothing open.
func (s *Service) lookAtNodes(v *view) {
	renewed := map[string]time.Time{}
	for _, m := range v.sessions {
		if !v.own[m.ID] {
			renewed[m.NodeID] = latest(renewed[m.NodeID], m.RenewedAt)
		}
	}
	leases := make(map[string]lease, len(renewed))
	for node, at := range renewed {
		l, known := s.leases[node]
		if !known || l.renewed != at {
			l = lease{renewed: at, seen: v.now}
		}
		leases[node] = l
	}
	s.leases = leases
}
