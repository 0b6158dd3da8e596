package sfu

import (
	"log/slog"
	"net/netip"
	"runtime"
	"time"
)

// Config says how an SFU listens and how much it admits. The zero value works.
type Config struct {
	// UDPAddr is the one address all media goes through: ":8090", "127.0.0.1:0". Empty means ":0".
	UDPAddr string
	// TCPAddr is the one address for peers whom UDP does not reach: ":8090". Empty means none.
	TCPAddr string
	// PublicIPs are advertised besides the host's own addresses: a server behind 1:1 NAT.
	PublicIPs []netip.Addr
	// STUNServers, stun:host[:port], are asked what the media port looks like from outside, which is advertised, too.
	STUNServers []string
	// Lite makes the server answer connectivity checks and send none: every peer can reach its addresses.
	Lite   bool
	Logger *slog.Logger
	// Observer hears of everything that begins and ends. It may be nil.
	Observer Observer
	// ReadWish reads what a viewer writes on a data channel that is named "quality", and what is wrong with it in words for
	// the viewer. Without it such a channel is one like others. It may be called from many goroutines at once.
	ReadWish func(raw []byte) (Preference, error)

	// Shards is the number of fan-out goroutines; 0 means one a processor. Readers is the number of sockets on the media
	// port, each with a goroutine that reads it; 0 means one for two processors, as they have less to do than the shards.
	// Systems that cannot share a port among sockets have one.
	Shards, Readers int
	// ShardQueue is the number of packets that may wait for a shard before it drops, however short they have waited.
	ShardQueue int
	// RingSize is the number of packets kept of each layer at most, rounded up to a power of two.
	RingSize int

	// BurstWindow is how long a busy shard may hold packets of a frame back to send them to a viewer together; the
	// rest of a frame ends the wait. It also lets busy readers look once in a while, every two milliseconds if somebody
	// watches and every five if nobody does, instead of waking for each packet. Negative never waits.
	BurstWindow time.Duration
	// NoOffload never asks the kernel to split or join datagrams. Without it that stops by itself where it fails.
	NoOffload bool

	// MaxViewers bounds the WHEP sessions, MaxMediaSessions the media sessions of this process.
	MaxViewers, MaxMediaSessions int
	// MaxViewerSessions bounds the WHEP sessions of one viewer of a media session; its oldest makes room for a new one.
	MaxViewerSessions int

	// ConnectTimeout bounds ICE and DTLS set-up of a session.
	ConnectTimeout time.Duration
	// PublisherTimeout is how long a publisher may be silent (ICE consent included) before its session ends.
	// Half of it is spent connected, half of it disconnected.
	PublisherTimeout time.Duration
	// ConsentTimeout is the same for a viewer, who may be changing networks: at most 30 s (RFC 7675, section 5.1).
	ConsentTimeout time.Duration
	// PublisherWait is how long Play waits for a publisher that is just connecting.
	PublisherWait time.Duration
	// KeyframeInterval is the shortest time between two keyframe requests to one layer.
	KeyframeInterval time.Duration
}

const (
	defaultShardQueue       = 4096 // a sixth of a second of 100 cameras; of fewer maxDelay is what counts
	defaultRingSize         = 1024
	defaultMaxViewers       = 2000
	defaultMaxMediaSessions = 500
	defaultViewerSessions   = 8
	defaultConnectTimeout   = 15 * time.Second
	defaultPublisherTimeout = 10 * time.Second
	maxConsentTimeout       = 30 * time.Second
	defaultPublisherWait    = 3 * time.Second
	defaultKeyframeInterval = 500 * time.Millisecond
	defaultBurstWindow      = 5 * time.Millisecond

	// maxQueue keeps a queued packet's slot well inside half of the sequence number space.
	maxQueue = 1 << 14
	// laneQueue bounds the queue of a shard that serves one viewer or tap.
	laneQueue = 1024
)

// withDefaults fills what was left zero.
func (c Config) withDefaults() Config {
	if c.UDPAddr == "" {
		c.UDPAddr = ":0"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Observer == nil {
		c.Observer = noObserver{}
	}
	c.Shards = orInt(c.Shards, runtime.GOMAXPROCS(0))
	c.Readers = orInt(c.Readers, (runtime.GOMAXPROCS(0)+1)/2)
	c.ShardQueue = min(orInt(c.ShardQueue, defaultShardQueue), maxQueue)
	c.RingSize = orInt(c.RingSize, defaultRingSize)
	c.MaxViewers = orInt(c.MaxViewers, defaultMaxViewers)
	c.MaxMediaSessions = orInt(c.MaxMediaSessions, defaultMaxMediaSessions)
	c.MaxViewerSessions = orInt(c.MaxViewerSessions, defaultViewerSessions)
	c.ConnectTimeout = orDuration(c.ConnectTimeout, defaultConnectTimeout)
	c.PublisherTimeout = orDuration(c.PublisherTimeout, defaultPublisherTimeout)
	c.ConsentTimeout = min(orDuration(c.ConsentTimeout, maxConsentTimeout), maxConsentTimeout)
	c.PublisherWait = orDuration(c.PublisherWait, defaultPublisherWait)
	c.KeyframeInterval = orDuration(c.KeyframeInterval, defaultKeyframeInterval)
	if c.BurstWindow == 0 {
		c.BurstWindow = defaultBurstWindow
	}
	c.BurstWindow = max(c.BurstWindow, 0)
	return c
}

func orInt(v, fallback int) int {
	if v <= 0 {
		return fallback
	}
	return v
}

func orDuration(v, fallback time.Duration) time.Duration {
	if v <= 0 {
		return fallback
	}
	return v
}
