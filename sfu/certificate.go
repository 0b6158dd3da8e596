package sfu

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/securecam/securecam/sfu/transport"
)

// receiveMTU is the largest datagram that is taken.
const receiveMTU = 1500

// newTransport returns what the transports of all sessions share: a socket, a certificate, time limits.
func newTransport(c Config, s *socket) (transport.Config, error) {
	certificate, err := newCertificate()
	if err != nil {
		return transport.Config{}, fmt.Errorf("sfu: certificate: %w", err)
	}
	return transport.Config{
		Mux: s.mux, Net: s.net, TCP: s.tcp, Lite: c.Lite, Certificate: certificate, Loopback: true,
		PublicIPs: c.PublicIPs, Mapped: s.mapped.addrs,
		ConnectTimeout: c.ConnectTimeout, DisconnectedTimeout: c.PublisherTimeout / 2, FailedTimeout: c.PublisherTimeout / 2,
		Drops: &s.drops, Logger: c.Logger,
	}, nil
}

// newCertificate signs a certificate for this process. Peers compare its fingerprint and nothing else.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "securecam"},
		NotBefore:    time.Now().AddDate(0, 0, -1),
		NotAfter:     time.Now().AddDate(10, 0, 0),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, err
}
