package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/media"
)

// lossInterval is how often losses are reported, if there are any.
const lossInterval = time.Second

// loss is one thing that can get lost, by its count since the start.
type loss struct {
	name  string
	count func() uint64
}

// losses lists what the parts count instead of logging it when it happens.
func losses(p plane, s state, g *gateway.Gateway, w *media.Service) []loss {
	list := []loss{
		{"media packets dropped by a full or late shard", func() uint64 { return p.sfu.Stats().Dropped }},
		{"viewers and recordings that a late shard left without a picture until a keyframe", func() uint64 { return p.sfu.Stats().Skips }},
		{"media packets refused by a sink", func() uint64 { return p.sfu.Stats().WriteErrors }},
		{"RTCP packets of peers that send too many", func() uint64 { return p.sfu.Stats().Flooded }},
		{"RTP and RTCP packets of peers that are malformed", func() uint64 { return p.sfu.Stats().Malformed }},
		{"media packets of no stream", func() uint64 { return p.sfu.Stats().Unbound }},
		{"media packets too long to be passed on", func() uint64 { return p.sfu.Stats().Oversized }},
		{"datagrams refused by the system", func() uint64 { return p.sfu.Stats().Socket.Refused }},
		{"media packets not authentic", func() uint64 { return p.sfu.Stats().Socket.Rejected }},
		{"datagrams of no media session", func() uint64 { return p.sfu.Stats().Socket.Strangers }},
		{"connectivity checks without their session's password", func() uint64 { return p.sfu.Stats().Socket.Forged }},
		{"media packets before there were keys", func() uint64 { return p.sfu.Stats().Socket.Early }},
		{"handshake datagrams that came too fast", func() uint64 { return p.sfu.Stats().Socket.Overflowed }},
		{"media socket faults", func() uint64 { return p.sfu.Stats().Socket.Faults }},
		{"media connections over TCP refused", func() uint64 { return p.sfu.Stats().Socket.TCPRefused }},
		{"media packets over TCP not taken in time", func() uint64 { return p.sfu.Stats().Socket.TCPDropped }},
		{"talkers' packets refused", func() uint64 { return p.sfu.Stats().TalkRefused }},
		{"data channel messages refused", func() uint64 { return p.sfu.Stats().Data.Refused }},
		{"data channel messages not taken in time", func() uint64 { return p.sfu.Stats().Data.Dropped }},
		{"feedback on viewers' ways not looked at", func() uint64 { return p.sfu.Stats().Congestion.Discarded }},
		{"WHIP and WHEP offers over a device's limit", func() uint64 { return w.Stats().RefusedOffers }},
		{"requests about media sessions over a device's limit", func() uint64 { return w.Stats().RefusedChanges }},
		{"event streams over a session's limit", func() uint64 { return w.Stats().RefusedEventStreams }},
		{"bus messages dropped", func() uint64 { return s.bus.Stats().Dropped }},
		{"gateway connections that did not read", func() uint64 { return g.Stats().SlowReaders }},
		{"gateway connections that flooded", func() uint64 { return g.Stats().Floods }},
		{"gateway connections over a limit", func() uint64 { return g.Stats().Refused }},
		{"gateway messages over the limit of their event", func() uint64 { return g.Stats().RefusedEvents }},
		{"events forgotten before their device came back", func() uint64 { return g.Stats().Forgotten }},
	}
	if p.turn != nil {
		list = append(list,
			loss{"relay packets dropped", func() uint64 { return p.turn.Stats().DroppedPackets }},
			loss{"relay allocations refused", func() uint64 { return p.turn.Stats().RefusedAllocations }})
	}
	if m, ok := s.minio(); ok {
		list = append(list, loss{"writes refused by a full spool", func() uint64 { return m.Stats().SpoolRefused }})
	}
	return list
}

// reportLosses logs, once a second, how much of each kind was lost in it.
func reportLosses(ctx context.Context, log logger, list []loss) error {
	tick := time.NewTicker(lossInterval)
	defer tick.Stop()
	last := make([]uint64, len(list))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for i, l := range list {
			if n := l.count(); n > last[i] {
				log.Warn("lost", slog.String("what", l.name), slog.Uint64("count", n-last[i]))
				last[i] = n
			}
		}
	}
}
