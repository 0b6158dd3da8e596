package transport

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/transport/v5"
)

// Why a transport ended; Close may give others.
const (
	// ReasonPeerClosed: the peer closed its connection (DTLS close_notify or a fatal alert).
	ReasonPeerClosed = "peer_closed"
	// ReasonConnectionLost: the peer has not answered ICE consent checks (RFC 7675) for too long.
	ReasonConnectionLost = "connection_lost"
	// ReasonConnectFailed: ICE found no path, or the DTLS handshake failed.
	ReasonConnectFailed = "connect_failed"
	// ReasonConnectTimeout: Config.ConnectTimeout was over before the transport was connected.
	ReasonConnectTimeout = "connect_timeout"
)

// Errors a caller can act on; test with errors.Is.
var (
	// ErrRemote reports what a peer must not ask for: wrong ICE credentials, DTLS role or fingerprints.
	ErrRemote = errors.New("transport: unacceptable peer")
	// ErrCandidate reports a candidate line that is malformed.
	ErrCandidate = errors.New("transport: malformed candidate")
	// ErrNoAddress reports a socket that no candidate can be made of.
	ErrNoAddress = errors.New("transport: no local address")
	// ErrNotConnected reports a write before Connect.
	ErrNotConnected = errors.New("transport: not connected")
	// ErrClosed reports a use after the transport has ended.
	ErrClosed = errors.New("transport: closed")

	errTimeout = errors.New("timed out")
)

const (
	defaultConnectTimeout      = 15 * time.Second
	defaultDisconnectedTimeout = 5 * time.Second
	defaultFailedTimeout       = 5 * time.Second
	// maxKeepalive is pion's own interval of consent checks; RFC 7675 wants one in 4 to 6 s at least. A longer one would
	// change nothing, since the agent looks after its pair that often and checks it each time; and by two unanswered ones
	// a peer is followed to another address.
	maxKeepalive = 2 * time.Second
)

// Config holds what all transports of a process share; each part is made once. Mux, Net and Certificate have no
// default.
type Config struct {
	// Mux is the UDP socket that all transports share. Its connections must read and write netip addresses
	// (ice.AddrPortReaderWriter), and hand on from a remote address only what a transport has sent to, STUN aside:
	// ice.UDPMuxDefault does both.
	Mux ice.UDPMux
	// Net lists the host's interfaces. It is shared because pion reads them from the kernel for each.
	Net transport.Net
	// Certificate is the server's, ECDSA P-256.
	Certificate tls.Certificate
	// TCP is the port for peers whom UDP does not reach. Nil is none. The transports of a port end before it.
	TCP *TCPPort
	// Lite answers checks and sends none (RFC 8445, section 2.5): for a server whose addresses every peer can reach.
	Lite bool
	// PublicIPs are advertised besides the host's addresses: a server behind 1:1 NAT.
	PublicIPs []netip.Addr
	// Mapped returns what the UDP socket looks like from outside, as STUN servers say now. Nil knows none.
	Mapped func() []netip.AddrPort
	// Loopback also advertises loopback addresses.
	Loopback bool
	// Profiles are the SRTP protection profiles in order of preference, which a DTLS server decides alone.
	// Empty means AEAD_AES_128_GCM, AEAD_AES_256_GCM, AES128_CM_HMAC_SHA1_80.
	Profiles []dtls.SRTPProtectionProfile
	// ConnectTimeout bounds Connect. The DTLS connection is also kept at hand that long after its last record, for a
	// peer that repeats its last flight.
	ConnectTimeout time.Duration
	// DisconnectedTimeout and FailedTimeout: a silent peer is lost after the sum of both.
	DisconnectedTimeout, FailedTimeout time.Duration
	// OnData has the DTLS connection of a session with data channels when it is connected, and returns when a Read or Write
	// of it fails. Nil is for sessions without.
	OnData func(net.Conn)
	// Drops counts what is not taken. Nil counts for nobody.
	Drops *Drops
	// Logger hears what has no other way out. Nil is silent.
	Logger *slog.Logger
}

// Drops count datagrams that transports did not take. All transports of a process may share them.
type Drops struct {
	Forged  atomic.Uint64 // connectivity checks, and answers to them, without the session's password
	Early   atomic.Uint64 // RTP and RTCP before OnMedia is set
	Records atomic.Uint64 // DTLS records that came faster than they were read
}

func (c Config) withDefaults() Config {
	if len(c.Profiles) == 0 {
		c.Profiles = []dtls.SRTPProtectionProfile{
			dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80,
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Drops == nil {
		c.Drops = &Drops{}
	}
	c.ConnectTimeout = positive(c.ConnectTimeout, defaultConnectTimeout)
	c.DisconnectedTimeout = positive(c.DisconnectedTimeout, defaultDisconnectedTimeout)
	c.FailedTimeout = positive(c.FailedTimeout, defaultFailedTimeout)
	return c
}

func positive(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// keepalive is the interval of consent checks: two of them may be lost before a peer counts as disconnected.
func (c Config) keepalive() time.Duration {
	return min(maxKeepalive, c.DisconnectedTimeout*2/5)
}

// Local is what an answer tells the peer. Its DTLS role is a=setup:passive.
type Local struct {
	Ufrag, Pwd string
	Lite       bool
	// Fingerprint is that of the certificate.
	Fingerprint Fingerprint
	// Candidates are all there are, as "candidate:..." (RFC 8839, section 5.1).
	Candidates []string
}

// Session is what a finished handshake leaves: the SRTP profile and both directions' master keys
// (RFC 5764, section 4.2).
type Session struct {
	Profile uint16 // a dtls.SRTPProtectionProfile
	// Local keys protect what we send, Remote keys what the peer sends.
	Local, Remote Keys
}

// Keys are the SRTP master key and salt of one direction.
type Keys struct{ Key, Salt []byte }
