// Package rtc is the client side of one bundled WebRTC transport, cut down to
// what a load generator needs: an offer, or an answer to a server's, ICE checks
// towards the server's UDP candidates, DTLS, SRTP keys. It costs a socket and
// the goroutines of DTLS; ICE and media run on the poller's.
package rtc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"

	"github.com/securecam/securecam/bench/wire"
)

// keepalive is the interval of ICE consent checks and so what keeps the
// server from giving the peer up.
const keepalive = 2 * time.Second

// Config is what all transports of a run share.
type Config struct {
	Poller      *wire.Poller
	Certificate tls.Certificate
	// Advertise is the address of the host candidate.
	Advertise netip.Addr
	// Prefer is tried first when the server offers several addresses.
	Prefer netip.Addr
	// Profiles are offered in this order; empty means GCM before CTR.
	Profiles []dtls.SRTPProtectionProfile
}

// Callbacks are called on the poller's goroutine. Their arguments are valid
// during the call.
type Callbacks struct {
	RTP  func(packet []byte, at int64) // still protected
	RTCP func(compound []byte)         // opened
}

// Transport is one client's connection.
type Transport struct {
	cfg    Config
	socket *wire.Socket
	call   Callbacks
	ice    agent
	dtls   *datagrams
	conn   *dtls.Conn

	keys     atomic.Pointer[keys]
	profile  string
	sending  sync.Mutex // guards keys.local
	reading  sync.WaitGroup
	ended    chan struct{} // closed when the server has ended DTLS
	stop     context.CancelFunc
	errored  atomic.Uint64
	sendErrs atomic.Uint64
}

type keys struct{ local, remote *srtp.Context }

// New opens the socket of a transport.
func New(cfg Config, call Callbacks) (*Transport, error) {
	t := &Transport{cfg: cfg, call: call, ended: make(chan struct{})}
	t.ice.init()
	t.dtls = newDatagrams(t)
	var err error
	t.socket, err = cfg.Poller.Open(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), t.receive)
	if err != nil {
		return nil, err
	}
	t.ice.send = t.socket.Send
	if err := t.socket.Start(); err != nil {
		return nil, errors.Join(err, t.socket.Close())
	}
	return t, nil
}

// receive demultiplexes by the first byte (RFC 7983).
func (t *Transport) receive(b []byte, from netip.AddrPort, at int64) {
	switch {
	case len(b) < 8:
	case b[0] < 4:
		t.ice.handle(b, from)
	case b[0] >= 20 && b[0] < 64:
		t.dtls.push(b)
	case b[0] >= 128 && b[0] < 192:
		if b[1] >= 192 && b[1] < 224 {
			t.receiveRTCP(b)
		} else if t.call.RTP != nil && len(b) > 12 {
			t.call.RTP(b, at)
		}
	}
}

func (t *Transport) receiveRTCP(b []byte) {
	k := t.keys.Load()
	if k == nil || t.call.RTCP == nil {
		return
	}
	plain, err := k.remote.DecryptRTCP(nil, b, nil)
	if err != nil {
		t.errored.Add(1)
		return
	}
	t.call.RTCP(plain)
}

// Connect performs ICE and DTLS with the server of the answer, its own or
// what Answer has agreed on.
func (t *Transport) Connect(ctx context.Context, a *Answer) error {
	candidates, err := a.usable(t.cfg.Prefer)
	if err != nil {
		return err
	}
	if err := t.ice.connect(ctx, a, candidates); err != nil {
		return err
	}
	if err := t.handshake(ctx, a); err != nil {
		return fmt.Errorf("rtc: dtls: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	t.reading.Go(func() { t.ice.keepAlive(run) })
	t.reading.Go(t.drain)
	return nil
}

// drain reads DTLS until the server ends it.
func (t *Transport) drain() {
	defer close(t.ended)
	b := make([]byte, 2048)
	for {
		if _, err := t.conn.Read(b); err != nil {
			return
		}
	}
}

// Ended is closed when the server has said goodbye, or Close was called.
func (t *Transport) Ended() <-chan struct{} { return t.ended }

// Profile names what protects the media.
func (t *Transport) Profile() string { return t.profile }

// Dropped counts datagrams that came faster than they were read.
func (t *Transport) Dropped() uint64 { return t.socket.Dropped() }

// Errors counts what could not be opened or sent.
func (t *Transport) Errors() uint64 { return t.errored.Load() + t.sendErrs.Load() }

// OpenRTP authenticates and decrypts a packet into dst. Only Callbacks.RTP
// may call it.
func (t *Transport) OpenRTP(dst, packet []byte) ([]byte, error) {
	k := t.keys.Load()
	if k == nil {
		return nil, errEarly
	}
	return k.remote.DecryptRTP(dst, packet, nil)
}

// Send protects an RTP packet, sends it, and returns it as it was sent. dst
// is memory to use.
func (t *Transport) Send(dst, plain []byte) ([]byte, error) {
	sealed, err := t.Seal(dst, plain)
	if err != nil {
		return nil, err
	}
	return sealed, t.Resend(sealed)
}

// Seal protects an RTP packet without sending it. dst is memory to use.
func (t *Transport) Seal(dst, plain []byte) ([]byte, error) {
	t.sending.Lock()
	defer t.sending.Unlock()
	return t.keys.Load().local.EncryptRTP(dst, plain, nil)
}

// SendJoined sends sealed packets that lie one behind the other, each of
// segment bytes, only the last may be shorter.
func (t *Transport) SendJoined(sealed []byte, segment int) error {
	err := t.socket.SendJoined(sealed, segment, t.ice.selected())
	if err != nil {
		t.sendErrs.Add(1)
	}
	return err
}

// Resend sends again what Send has returned.
func (t *Transport) Resend(sealed []byte) error {
	err := t.socket.Send(sealed, t.ice.selected())
	if err != nil {
		t.sendErrs.Add(1)
	}
	return err
}

var errEarly = errors.New("rtc: no keys yet")

// SendRTCP protects and sends a compound packet.
func (t *Transport) SendRTCP(packets ...rtcp.Packet) error {
	plain, err := rtcp.Marshal(packets)
	if err != nil {
		return err
	}
	t.sending.Lock()
	defer t.sending.Unlock()
	keys := t.keys.Load()
	if keys == nil {
		return errEarly
	}
	sealed, err := keys.local.EncryptRTCP(nil, plain, nil)
	if err != nil {
		return err
	}
	return t.Resend(sealed)
}

// Close says goodbye by DTLS and ends the transport.
func (t *Transport) Close() error {
	var err error
	if t.stop != nil {
		t.stop()
	}
	if t.conn != nil {
		err = t.conn.Close()
	}
	t.dtls.close()
	t.reading.Wait()
	return errors.Join(err, t.socket.Close())
}

// NewCertificate makes the certificate that all clients of a run share.
func NewCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func fingerprintOf(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}
