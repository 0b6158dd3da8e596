package transport

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/pion/dtls/v3"
)

// flightInterval is the first retransmission interval of a handshake flight. RFC 6347, section 4.2.4.1 says 1 s for
// the open Internet and allows less where latency matters; browsers take 50 ms.
const flightInterval = 100 * time.Millisecond

// handshakeGrace is how long Close waits for a handshake that is under way.
const handshakeGrace = 250 * time.Millisecond

// options are those of a connection whether it is new or taken out again.
func (t *Transport) options() []dtls.Option {
	return []dtls.Option{
		dtls.WithCertificates(t.cfg.Certificate),
		dtls.WithSRTPProtectionProfiles(t.cfg.Profiles...),
		dtls.WithVerifyPeerCertificate(t.verify),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(quiet{}),
	}
}

// verify holds the peer's certificate against its fingerprints.
func (t *Transport) verify(raw [][]byte, chains [][]*x509.Certificate) error {
	err := t.check(raw, chains)
	if err != nil {
		t.mismatch.Store(true)
	}
	return err
}

// handshake runs DTLS as server. It sends no HelloVerifyRequest (RFC 6347, section 4.2.1), whose purpose ICE has
// served already: the peer is at its address.
func (t *Transport) handshake(ctx context.Context) (Session, error) {
	t.record.Lock()
	p := t.record.pipe
	t.record.Unlock()
	if p == nil {
		return Session{}, ErrClosed
	}
	options := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(true),
	}
	for _, o := range t.dtls {
		options = append(options, o)
	}
	conn, err := dtls.ServerWithOptions(p, peer{}, options...)
	if err != nil {
		return Session{}, fmt.Errorf("dtls: %w", err)
	}
	if err = conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return Session{}, fmt.Errorf("dtls: %w", err)
	}
	s, err := keys(conn)
	if err != nil {
		_ = conn.Close()
		return Session{}, err
	}
	if !t.adopt(conn, p, t.cfg.OnData) {
		_ = conn.Close()
		return Session{}, ErrClosed
	}
	return s, nil
}

// keys exports the SRTP keys: RFC 5764, section 4.2.
func keys(conn *dtls.Conn) (Session, error) {
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return Session{}, errors.New("dtls: no common SRTP profile")
	}
	var key, salt int
	switch profile { //nolint:exhaustive // the others are not offered
	case dtls.SRTP_AEAD_AES_128_GCM: // RFC 7714, section 12
		key, salt = 16, 12
	case dtls.SRTP_AEAD_AES_256_GCM:
		key, salt = 32, 12
	case dtls.SRTP_AES128_CM_HMAC_SHA1_80: // RFC 5764, section 4.1.2
		key, salt = 16, 14
	default:
		return Session{}, fmt.Errorf("dtls: SRTP profile %#04x", uint16(profile))
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return Session{}, errors.New("dtls: no state")
	}
	m, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*(key+salt))
	if err != nil {
		return Session{}, fmt.Errorf("dtls: %w", err)
	}
	client, server := m[:key:key], m[key:2*key:2*key]
	salts := m[2*key:]
	return Session{
		Profile: uint16(profile),
		Local:   Keys{server, salts[salt:]},
		Remote:  Keys{client, salts[:salt:salt]},
	}, nil
}

// adopt makes conn the transport's connection, unless that is closed. onData, if there is one, has it first.
func (t *Transport) adopt(conn *dtls.Conn, p *pipe, onData func(net.Conn)) bool {
	t.record.Lock()
	defer t.record.Unlock()
	if t.record.closed {
		return false
	}
	t.record.conn, t.record.pipe = conn, p
	if onData == nil {
		t.await(conn)
	}
	t.loops.Go(func() {
		if onData != nil {
			onData(&dataConn{Conn: conn, transport: t})
			t.await(conn)
		}
		t.watch(conn, p)
	})
	return true
}

// await gives the peer until ConnectTimeout to say something more.
func (t *Transport) await(conn *dtls.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(t.cfg.ConnectTimeout))
}

// Confirm says that the peer has finished its handshake: it has sent an authentic packet, whose keys it could only know
// with our last flight. Nobody will ask for that again, and the DTLS connection is put away at once. It does not wait.
func (t *Transport) Confirm() {
	if t.confirmed.Load() || t.confirmed.Swap(true) || t.cfg.OnData != nil {
		return
	}
	t.record.Lock()
	defer t.record.Unlock()
	if t.record.conn != nil {
		_ = t.record.conn.SetReadDeadline(time.Now())
	}
}

// dataConn is the DTLS connection as whoever carries data channels has it.
type dataConn struct {
	*dtls.Conn
	transport *Transport
}

// Read implements net.Conn.
func (c *dataConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		c.transport.end(ReasonPeerClosed)
	}
	return n, err
}

// Close ends a Read that waits; the connection stays the transport's.
func (c *dataConn) Close() error { return c.SetReadDeadline(time.Unix(1, 0)) }

// watch reads conn until the peer closes it (nothing else is expected to come) or until it has been silent for
// ConnectTimeout or Confirm was called: then it is put away, with its four goroutines and its buffers. So long it answers
// a peer that repeats its last flight as ours was lost.
func (t *Transport) watch(conn *dtls.Conn, p *pipe) {
	var ignored [64]byte
	for {
		switch _, err := conn.Read(ignored[:]); {
		case errors.Is(err, io.EOF):
			t.end(ReasonPeerClosed) // or we closed, and have said why
			return
		case errors.Is(err, context.DeadlineExceeded):
			t.park(conn, p)
			return
		default:
			t.await(conn)
		}
	}
}

// park puts conn away. It must not send any more from here on, as what is taken out later goes on with its record
// numbers; its own close_notify ends in the pipe.
func (t *Transport) park(conn *dtls.Conn, p *pipe) {
	t.record.Lock()
	defer t.record.Unlock()
	if t.record.closed {
		return
	}
	p.muted.Store(true)
	_ = conn.Close()
	state, ok := conn.ConnectionState()
	if !ok {
		t.cfg.Logger.Error("dtls connection cannot be put away")
		return
	}
	t.record.conn, t.record.pipe, t.record.parked = nil, nil, &state
}

// contentAlert is the record type of close_notify and fatal alerts: RFC 5246, section 6.2.1.
const contentAlert = 21

// inboundDTLS gives a datagram of DTLS records to the connection. A parked one is taken out for an alert, which it
// will authenticate; it stays out for a while, so that forged ones cost no more than forged records do anyway.
func (t *Transport) inboundDTLS(b []byte) {
	t.record.Lock()
	defer t.record.Unlock()
	switch {
	case t.record.closed:
	case t.record.pipe != nil:
		t.record.pipe.put(b)
	case t.record.parked != nil && b[0] == contentAlert:
		state, alert := t.record.parked, bytes.Clone(b)
		t.record.parked = nil
		t.loops.Go(func() { t.unpark(state, alert) })
	}
}

// unpark makes the connection again and lets it read the alert: not before, as it takes one that comes too early for
// a failed handshake.
func (t *Transport) unpark(state *dtls.State, alert []byte) {
	p := newPipe(t)
	conn, err := t.resume(state, p)
	if err != nil {
		t.cfg.Logger.Error("dtls connection cannot be taken out", slog.Any("err", err))
		return
	}
	if !t.adopt(conn, p, nil) {
		_ = conn.Close() // we are closing: this says so to the peer
		return
	}
	p.put(alert)
}

func (t *Transport) resume(state *dtls.State, p *pipe) (*dtls.Conn, error) {
	conn, err := dtls.ResumeWithOptions(state, p, peer{}, t.dtls...)
	if err != nil {
		return nil, err
	}
	return conn, conn.Handshake() // only starts to read: the state is that of a finished one
}

// goodbye closes the DTLS connection, parked or not, with a close_notify, and takes no records any more.
func (t *Transport) goodbye() {
	t.record.Lock()
	conn, state, p := t.record.conn, t.record.parked, t.record.pipe
	t.record.closed = true
	t.record.conn, t.record.parked, t.record.pipe = nil, nil, nil
	t.record.Unlock()
	switch {
	case conn != nil:
		_ = conn.Close()
	case p != nil: // before the end of the handshake
		_ = p.Close()
	case state != nil && t.reason != ReasonConnectionLost:
		if conn, err := t.resume(state, newPipe(t)); err == nil {
			_ = conn.Close()
		}
	}
}
