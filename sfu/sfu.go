package sfu

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/datachannel"
	"github.com/securecam/securecam/sfu/transport"
)

// SFU is the media node of one process.
type SFU struct {
	cfg      Config
	log      *slog.Logger
	clock    func() int64 // of packet arrivals
	socket   *socket
	shards   []*shard
	costly   *shard // for viewers without AES-GCM
	informer *informer

	transport transport.Config // of every session
	flooded   atomic.Uint64    // RTCP packets that were too many to look at
	fates     fateCounters     // RTP packets; RTCP that is malformed
	ways      wayTotals        // to viewers
	reach     []hostAddr       // where the socket listens
	quality   struct {
		mu sync.Mutex // guards what follows
		Quality
	}

	sessionsDone sync.WaitGroup // tear-down of sessions, lanes
	workersDone  sync.WaitGroup // shards, informer, survey, observer
	stopObserver chan struct{}

	// mu guards what follows and every field that says so. The hot path never takes it; no callback and nothing that
	// waits for a peer is called under it. shard.mu may be taken under it.
	mu       sync.Mutex
	closed   bool
	media    map[string]*media
	sessions map[string]*session
	viewers  int           // WHEP sessions, those being set up included
	offers   int           // counter-offers that wait for their answer
	layers   uint64        // layers there ever were
	opened   uint64        // sessions there ever were
	changed  chan struct{} // closed and replaced when a publisher comes
	data     datachannel.Counters
	ended    Counters // of media sessions that ended
	events   []func(Observer)
	hasEvent chan struct{}
}

// New opens the media socket and starts the shards. The caller ends them with Shutdown.
func New(cfg Config) (*SFU, error) {
	cfg = cfg.withDefaults()
	clock := monotonic()
	socket, err := listen(cfg, clock)
	if err != nil {
		return nil, err
	}
	shared, err := newTransport(cfg, socket)
	if err != nil {
		return nil, errors.Join(err, socket.close())
	}
	s := &SFU{
		cfg: cfg, log: cfg.Logger, clock: clock, socket: socket, transport: shared,
		stopObserver: make(chan struct{}), informer: newInformer(),
		media:    make(map[string]*media),
		sessions: make(map[string]*session),
		changed:  make(chan struct{}),
		hasEvent: make(chan struct{}, 1),
	}
	for range cfg.Shards {
		s.shards = append(s.shards, s.newShard())
	}
	s.costly = s.newShard()
	s.warnOfReach()
	s.workersDone.Go(s.observe)
	s.quality.Quality = newQuality()
	s.workersDone.Go(func() { s.informer.run(clock) })
	s.workersDone.Go(s.survey)
	return s, nil
}

// warnOfReach says at the start what nobody would guess from a picture that does not come. What STUN servers will tell is
// not known yet.
func (s *SFU) warnOfReach() {
	s.reach = withInterfaces(s.socket.addrs())
	if len(s.cfg.STUNServers) > 0 {
		return
	}
	if why := unreachable(s.reach, s.cfg.PublicIPs, inContainer()); why != "" {
		s.log.Warn("nobody outside can connect", slog.String("why", why))
	} else if why := local(s.reach, s.cfg.PublicIPs); why != "" {
		s.log.Info("only devices in this network can connect", slog.String("why", why))
	}
}

// Addrs returns the addresses media is sent to: those of this host and the public ones.
func (s *SFU) Addrs() []netip.AddrPort {
	addrs := s.socket.addrs()
	if len(addrs) == 0 {
		return nil
	}
	port := addrs[0].Port()
	for _, ip := range s.cfg.PublicIPs {
		addrs = append(addrs, netip.AddrPortFrom(ip, port))
	}
	return append(addrs, s.socket.mapped.addrs()...)
}

// Close ends one WHIP or WHEP session. Its media has stopped when Close returns.
func (s *SFU) Close(sessionID, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, ok := s.sessions[sessionID]
	if !ok {
		return ErrNotFound
	}
	s.closeSession(sess, reason)
	return nil
}

// Has reports whether a WHIP or WHEP session goes on.
func (s *SFU) Has(sessionID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.sessions[sessionID]
	return ok
}

// CloseViewer ends every WHEP session of one viewer of a media session.
func (s *SFU) CloseViewer(mediaSession, viewer, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.media[mediaSession]
	if !ok {
		return
	}
	for v := range m.viewers {
		if v.viewer == viewer {
			s.closeSession(v, reason)
		}
	}
}

// End ends a media session: its publisher, viewers and taps.
func (s *SFU) End(mediaSession, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.media[mediaSession]; ok {
		s.endMedia(m, reason)
	}
}

// Shutdown ends all media sessions with reason "shutdown" and waits until no goroutine is left, or ctx ends. Calls
// after it answer ErrClosed.
func (s *SFU) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, m := range s.media {
		s.endMedia(m, "shutdown")
	}
	close(s.changed)
	s.mu.Unlock()

	done := make(chan error, 1)
	go func() {
		s.sessionsDone.Wait()
		for _, sh := range append(s.shards, s.costly) {
			close(sh.stop)
		}
		close(s.informer.stop)
		close(s.stopObserver)
		err := s.socket.close()
		s.workersDone.Wait()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newShard starts a shard that lives as long as the SFU.
func (s *SFU) newShard() *shard {
	sh := newShard(s.socket.conns[len(s.shards)%len(s.socket.conns)], s.cfg.ShardQueue, s.cfg.BurstWindow, s.clock)
	sh.delay = maxDelay
	s.workersDone.Go(sh.run)
	return sh
}

// newLane starts a shard for one viewer or tap whose sink may block. A tap's drains: it delivers to the last packet, and
// however late. Caller holds mu.
func (s *SFU) newLane(drains bool) *shard {
	sh := newShard(s.socket.conns[0], min(s.cfg.ShardQueue, laneQueue), 0, s.clock)
	if sh.drains = drains; !drains {
		sh.delay = maxLaneDelay
	}
	s.sessionsDone.Go(sh.run)
	return sh
}

// secret returns 144 random bits, fit for a URL.
func secret() string {
	var b [18]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// now is the time as the rest of the system keeps it.
func now() time.Time {
	return time.Now().UTC().Truncate(time.Millisecond)
}
