package rtc

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
)

// flightInterval is when a lost flight is sent again.
const flightInterval = 200 * time.Millisecond

var errFingerprint = errors.New("the certificate is not the one of the description")

// handshake performs DTLS and derives the SRTP keys.
func (t *Transport) handshake(ctx context.Context, a *Answer) error {
	profiles := t.cfg.Profiles
	if len(profiles) == 0 {
		profiles = []dtls.SRTPProtectionProfile{
			dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80,
		}
	}
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	shared := []dtls.Option{
		dtls.WithCertificates(t.cfg.Certificate), dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithInsecureSkipVerify(true), // the description's fingerprint is what counts
		dtls.WithVerifyConnection(func(s *dtls.State) error { return a.verify(s.PeerCertificates) }),
		dtls.WithFlightInterval(flightInterval), dtls.WithLoggerFactory(quiet),
	}
	remote := net.UDPAddrFromAddrPort(t.ice.selected())
	client := a.Setup != "active"
	var err error
	if client {
		options := make([]dtls.ClientOption, len(shared))
		for i, o := range shared {
			options[i] = o
		}
		t.conn, err = dtls.ClientWithOptions(t.dtls, remote, options...)
	} else {
		options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(true)}
		for _, o := range shared {
			options = append(options, o)
		}
		t.conn, err = dtls.ServerWithOptions(t.dtls, remote, options...)
	}
	if err != nil {
		return err
	}
	if err := t.conn.HandshakeContext(ctx); err != nil {
		return err
	}
	return t.deriveKeys(client)
}

func (t *Transport) deriveKeys(client bool) error {
	selected, ok := t.conn.SelectedSRTPProtectionProfile()
	state, complete := t.conn.ConnectionState()
	if !ok || !complete {
		return errors.New("no SRTP profile agreed")
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(selected)}
	t.profile = c.Profile.String()
	if err := c.ExtractSessionKeysFromDTLS(&state, client); err != nil {
		return err
	}
	local, err := srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile)
	if err != nil {
		return err
	}
	remote, err := srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile)
	if err != nil {
		return err
	}
	t.keys.Store(&keys{local: local, remote: remote})
	return nil
}

// verify compares the certificate with the description's fingerprint (RFC 8122).
func (a *Answer) verify(certificates [][]byte) error {
	if len(certificates) == 0 {
		return errFingerprint
	}
	name, want, _ := strings.Cut(a.Fingerprint, " ")
	hash, err := fingerprint.HashFromString(strings.ToLower(name))
	if err != nil || hash == crypto.Hash(0) {
		return fmt.Errorf("fingerprint with %q: %w", name, errors.Join(err, errFingerprint))
	}
	h := hash.New()
	h.Write(certificates[0])
	got := fmt.Sprintf("% X", h.Sum(nil))
	if !strings.EqualFold(strings.ReplaceAll(got, " ", ":"), strings.TrimSpace(want)) {
		return errFingerprint
	}
	return nil
}

// datagrams is the packet connection that DTLS sees.
type datagrams struct {
	transport *Transport
	received  *packetio.Buffer
}

func newDatagrams(t *Transport) *datagrams {
	d := &datagrams{transport: t, received: packetio.NewBuffer()}
	d.received.SetLimitCount(64)
	return d
}

func (d *datagrams) push(b []byte) {
	_, _ = d.received.Write(bytes.Clone(b), nil) // full or closed: lost like on the network
}

func (d *datagrams) close() { _ = d.received.Close() }

// ReadFrom implements net.PacketConn.
func (d *datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := d.received.Read(b, nil)
	return n, net.UDPAddrFromAddrPort(d.transport.ice.selected()), err
}

// WriteTo implements net.PacketConn; all goes to the selected address.
func (d *datagrams) WriteTo(b []byte, _ net.Addr) (int, error) {
	return len(b), d.transport.Resend(b)
}

// Close implements net.PacketConn.
func (d *datagrams) Close() error { return d.received.Close() }

// LocalAddr implements net.PacketConn.
func (d *datagrams) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(d.transport.socket.LocalAddr())
}

// SetDeadline implements net.PacketConn.
func (d *datagrams) SetDeadline(t time.Time) error { return d.received.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (d *datagrams) SetReadDeadline(t time.Time) error { return d.received.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn; writing never waits.
func (d *datagrams) SetWriteDeadline(time.Time) error { return nil }
