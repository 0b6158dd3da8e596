package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	selfSignedLife  = 397 * 24 * time.Hour // what browsers accept at most
	selfSignedRenew = 30 * 24 * time.Hour
)

// tlsConfig returns how to serve HTTPS, or nil for plain HTTP. hosts are the
// names and addresses that a certificate made here is for.
func tlsConfig(c *Config, hosts []string) (*tls.Config, error) {
	certFile, keyFile := c.TLSCertFile, c.TLSKeyFile
	if c.TLSSelfSigned {
		certFile, keyFile = filepath.Join(c.DataDir, "tls.crt"), filepath.Join(c.DataDir, "tls.key")
		if !usableFor(certFile, keyFile, hosts) {
			if err := makeSelfSigned(certFile, keyFile, hosts); err != nil {
				return nil, fmt.Errorf("make a self-signed certificate: %w", err)
			}
		}
	}
	if certFile == "" {
		return nil, nil //nolint:nilnil // plain HTTP
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS_CERT_FILE and TLS_KEY_FILE: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"}, // fasthttp speaks no HTTP/2
	}, nil
}

// certifiedHosts returns the names and addresses that clients may use: this
// machine's own, and what the settings say that the outside uses.
func (c *Config) certifiedHosts() []string {
	hosts := append(localIPs(), "localhost", "127.0.0.1")
	for _, ip := range c.PublicIPs {
		hosts = append(hosts, strings.TrimSpace(ip))
	}
	if u, err := c.baseURL(); err == nil && u != nil {
		hosts = append(hosts, u.Hostname())
	}
	return hosts
}

// usableFor says whether the kept certificate still serves all hosts.
func usableFor(certFile, keyFile string, hosts []string) bool {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil || time.Until(pair.Leaf.NotAfter) < selfSignedRenew {
		return false
	}
	for _, h := range hosts {
		if pair.Leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

func makeSelfSigned(certFile, keyFile string, hosts []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "SecureCam"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(selfSignedLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600),
	)
}
