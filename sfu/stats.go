package sfu

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// counters are the live form of Counters: written by the hot path, read by anybody.
type counters struct {
	packetsIn, bytesIn, keyframes             atomic.Uint64 // written by the socket's readers
	packetsOut, bytesOut, retransmitted       atomic.Uint64 // written by shards
	nacks, writeErrors, dropped, keyframeAsks atomic.Uint64
	switches, skips                           atomic.Uint64
	talkPackets, talkRefused                  atomic.Uint64 // written by the socket's readers
	cachedStarts, stills, replayed            atomic.Uint64 // written by shards
	pleas, nacksUnsent                        atomic.Uint64 // written by the socket's readers; the latter by shards, too
}

func (c *counters) load() Counters {
	return Counters{
		PacketsIn: c.packetsIn.Load(), BytesIn: c.bytesIn.Load(), Keyframes: c.keyframes.Load(),
		PacketsOut: c.packetsOut.Load(), BytesOut: c.bytesOut.Load(), Retransmitted: c.retransmitted.Load(),
		NACKs: c.nacks.Load(), NACKsUnsent: c.nacksUnsent.Load(), WriteErrors: c.writeErrors.Load(), Dropped: c.dropped.Load(),
		KeyframeRequests: c.keyframeAsks.Load(), Switches: c.switches.Load(), Skips: c.skips.Load(),
		CachedStarts: c.cachedStarts.Load(), Stills: c.stills.Load(), Replayed: c.replayed.Load(), ViewerPLIs: c.pleas.Load(),
		TalkPackets: c.talkPackets.Load(), TalkRefused: c.talkRefused.Load(),
	}
}

// add sums two readings.
func (c Counters) add(d Counters) Counters {
	c.PacketsIn += d.PacketsIn
	c.BytesIn += d.BytesIn
	c.Keyframes += d.Keyframes
	c.PacketsOut += d.PacketsOut
	c.BytesOut += d.BytesOut
	c.Retransmitted += d.Retransmitted
	c.NACKs += d.NACKs
	c.NACKsUnsent += d.NACKsUnsent
	c.WriteErrors += d.WriteErrors
	c.Dropped += d.Dropped
	c.KeyframeRequests += d.KeyframeRequests
	c.Switches += d.Switches
	c.Skips += d.Skips
	c.CachedStarts += d.CachedStarts
	c.Stills += d.Stills
	c.Replayed += d.Replayed
	c.ViewerPLIs += d.ViewerPLIs
	c.TalkPackets += d.TalkPackets
	c.TalkRefused += d.TalkRefused
	return c
}

// Status returns what a media session does at this moment, and whether there is one.
func (s *SFU) Status(mediaSession string) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.media[mediaSession]
	if !ok {
		return Status{}, false
	}
	st := Status{
		Publishing: m.publisher != nil,
		Since:      m.since,
		LostAt:     m.lostAt,
		Viewers:    make(map[string]int),
		Counters:   m.counters.load(),
	}
	for v := range m.viewers {
		st.Viewers[v.viewer]++
	}
	st.Talkback = m.intercom.listens()
	if t := m.intercom.talking(s.clock()); t != nil {
		st.Talker = t.viewer
	}
	for _, t := range m.tracks {
		if t != nil {
			st.Tracks = append(st.Tracks, t.info)
			st.Layers = t.describe(st.Layers)
		}
	}
	return st, true
}

// describe appends the track's layers, the least first.
func (t *upTrack) describe(to []LayerInfo) []LayerInfo {
	from := len(to)
	for _, l := range *t.layers.Load() {
		i := LayerInfo{Track: t.info.ID, RID: l.rid, Active: !l.silent.Load(), SpatialLayers: 1, TemporalLayers: 1}
		if f := l.facts.Load(); f != nil {
			i.SpatialLayers, i.TemporalLayers = int(f.highest.spatial)+1, int(f.highest.temporal)+1
			i.Bitrate, i.FPS = f.rate(f.highest.spatial, f.highest.temporal), f.fps
		}
		i.Width, i.Height = l.largest(i.SpatialLayers)
		to = append(to, i)
	}
	slices.SortStableFunc(to[from:], func(a, b LayerInfo) int {
		return cmp.Or(a.Width*a.Height-b.Width*b.Height, a.Bitrate-b.Bitrate)
	})
	return to
}

// MediaSessions returns the ids of all media sessions that have not ended, in no order.
func (s *SFU) MediaSessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(s.media))
	for id := range s.media {
		ids = append(ids, id)
	}
	return ids
}

// Stats returns the whole node's numbers.
func (s *SFU) Stats() Stats {
	unreachable := s.Unreachable() != ""
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		MediaSessions: len(s.media), Viewers: s.viewers, Counters: s.ended, Socket: s.socket.stats(),
		Unbound: s.fates[unbound].Load(), Malformed: s.fates[malformed].Load(), Duplicates: s.fates[duplicate].Load(),
		Late: s.fates[late].Load(), Oversized: s.fates[oversized].Load(), Flooded: s.flooded.Load(),
		Congestion: s.ways.load(), Unreachable: unreachable,
	}
	s.quality.mu.Lock()
	st.Quality = s.quality.clone()
	s.quality.mu.Unlock()
	st.Data = DataStats{
		Received: s.data.Received.Load(), Sent: s.data.Sent.Load(), Refused: s.data.Refused.Load(), Dropped: s.data.Dropped.Load(),
		Unheard: s.data.Unheard.Load(),
	}
	slowest := s.costly.slowest.Load()
	for _, sh := range s.shards {
		slowest = max(slowest, sh.slowest.Load())
	}
	st.SlowestShard = time.Duration(slowest)
	for _, m := range s.media {
		if m.publisher != nil {
			st.Publishers++
		}
		st.Taps += len(m.taps)
		st.Counters = st.add(m.counters.load())
	}
	return st
}
