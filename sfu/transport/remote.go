package transport

import (
	"crypto"
	"crypto/sha256"
	_ "crypto/sha512" // fingerprints of peers
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/sdp/v3"
)

// maxFingerprints bounds what a peer makes us compare. Chromium sends one, Firefox one.
const maxFingerprints = 16

// Remote is what a peer's offer says about its transport.
type Remote struct {
	Ufrag, Pwd string
	// Fingerprints of the certificate that the peer will show; one of them must fit (RFC 8122, section 5).
	Fingerprints []Fingerprint
	// Setup is the peer's a=setup: "actpass" or "active". We are the DTLS server.
	Setup string
	// Candidates are lines as for AddCandidate. There may be none.
	Candidates []string
}

// Fingerprint is a certificate's digest in the form of RFC 8122: "sha-256", "AB:CD:...".
type Fingerprint struct{ Hash, Value string }

// RemoteOf takes a peer's transport from a media section of its offer: what the section lacks is looked up in the
// session (RFC 8839, section 5; RFC 8122, section 5). For bundled sections it is called with the first accepted one
// (RFC 9143, section 7.3).
func RemoteOf(d *sdp.SessionDescription, m *sdp.MediaDescription) Remote {
	r := Remote{
		Ufrag: first(m.Attributes, d.Attributes, "ice-ufrag"),
		Pwd:   first(m.Attributes, d.Attributes, "ice-pwd"),
		Setup: first(m.Attributes, d.Attributes, "setup"),
	}
	fingerprints := values(m.Attributes, "fingerprint")
	if len(fingerprints) == 0 {
		fingerprints = values(d.Attributes, "fingerprint")
	}
	for _, v := range fingerprints {
		hash, value, _ := strings.Cut(v, " ")
		r.Fingerprints = append(r.Fingerprints, Fingerprint{hash, strings.TrimSpace(value)})
	}
	for _, v := range values(m.Attributes, "candidate") {
		r.Candidates = append(r.Candidates, "candidate:"+v)
	}
	return r
}

func first(section, session []sdp.Attribute, key string) string {
	for _, v := range append(values(section, key), values(session, key)...) {
		return v
	}
	return ""
}

func values(attributes []sdp.Attribute, key string) []string {
	var out []string
	for _, a := range attributes {
		if a.Key == key {
			out = append(out, a.Value)
		}
	}
	return out
}

// verifier checks the certificates of a DTLS client.
type verifier func(raw [][]byte, _ [][]*x509.Certificate) error

// digest is a usable fingerprint.
type digest struct {
	hash crypto.Hash
	sum  []byte
}

// verify checks everything about the peer that can be checked before it is there.
func (r Remote) verify() (verifier, error) {
	if err := checkCredentials(r.Ufrag, r.Pwd); err != nil {
		return nil, err
	}
	if r.Setup != "actpass" && r.Setup != "active" { // RFC 8842, section 5.1
		return nil, fmt.Errorf("%w: DTLS role %q", ErrRemote, r.Setup)
	}
	if len(r.Fingerprints) > maxFingerprints {
		return nil, fmt.Errorf("%w: %d fingerprints", ErrRemote, len(r.Fingerprints))
	}
	var digests []digest
	for _, f := range r.Fingerprints {
		d, known, err := f.parse()
		if err != nil {
			return nil, err
		}
		if known {
			digests = append(digests, d)
		}
	}
	if len(digests) == 0 {
		return nil, fmt.Errorf("%w: no usable fingerprint", ErrRemote)
	}
	return matches(digests), nil
}

// parse reads a fingerprint. Those of broken or unknown hashes are passed over: RFC 8122, section 5.
func (f Fingerprint) parse() (d digest, known bool, err error) {
	h, err := fingerprint.HashFromString(f.Hash)
	if err != nil {
		return digest{}, false, nil //nolint:nilerr // a hash of the future
	}
	switch h { //nolint:exhaustive // the others are broken or not made for this
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return digest{}, false, nil
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(f.Value, ":", ""))
	if err != nil || len(sum) != h.Size() {
		return digest{}, false, fmt.Errorf("%w: fingerprint %s", ErrRemote, f.Hash)
	}
	return digest{h, sum}, true, nil
}

var errFingerprint = errors.New("the certificate does not match the fingerprint")

// matches accepts a client whose own certificate has one of the digests. It is called whether or not certificate
// chains are verified, which they are not: browsers sign their own.
func matches(digests []digest) verifier {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 {
			return errFingerprint
		}
		for _, d := range digests {
			h := d.hash.New()
			_, _ = h.Write(raw[0])
			if slices.Equal(h.Sum(nil), d.sum) {
				return nil
			}
		}
		return errFingerprint
	}
}

// fingerprintOf returns the SHA-256 fingerprint of a certificate.
func fingerprintOf(c tls.Certificate) (Fingerprint, error) {
	if len(c.Certificate) == 0 {
		return Fingerprint{}, errors.New("transport: no certificate")
	}
	sum := sha256.Sum256(c.Certificate[0])
	value := make([]byte, 0, 3*len(sum))
	for _, b := range sum {
		value = fmt.Appendf(value, "%02X:", b)
	}
	return Fingerprint{Hash: "sha-256", Value: string(value[:len(value)-1])}, nil
}

// credentials are a peer's ufrag and password.
type credentials struct{ ufrag, pwd string }

// checkCredentials holds a peer to RFC 8839, section 5.4.
func checkCredentials(ufrag, pwd string) error {
	if !iceChars(ufrag, 4) || !iceChars(pwd, 22) {
		return fmt.Errorf("%w: ICE credentials", ErrRemote)
	}
	return nil
}

func iceChars(s string, least int) bool {
	if len(s) < least || len(s) > 256 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}
