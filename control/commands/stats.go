package commands

import (
	"sync/atomic"

	"github.com/securecam/securecam/store"
)

// Stats counts what became of commands in this process.
type Stats struct {
	Sent        uint64            `help:"Commands stored"`
	Delivered   uint64            `help:"Deliveries to a camera's connection"`
	Redelivered uint64            `help:"Deliveries that were not the command's first"`
	Answered    map[string]uint64 `label:"status" help:"Commands that their cameras answered"`
	Expired     uint64            `help:"Commands that nobody answered"`
}

type counters struct {
	sent, delivered, redelivered, acknowledged, rejected, expired atomic.Uint64
}

// Stats returns the counters.
func (s *Service) Stats() Stats {
	return Stats{
		Sent: s.sent.Load(), Delivered: s.delivered.Load(), Redelivered: s.redelivered.Load(), Expired: s.expired.Load(),
		Answered: map[string]uint64{
			string(store.CommandAcknowledged): s.acknowledged.Load(), string(store.CommandRejected): s.rejected.Load(),
		},
	}
}
