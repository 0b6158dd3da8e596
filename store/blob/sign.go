package blob

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	minSecretLength   = 16
	maxFilenameLength = 200
	maxGrantLength    = 300
	defaultBase       = "/objects/"

	paramExpires   = "expires"
	paramFilename  = "filename"
	paramGrant     = "by"
	paramType      = "type"
	paramSize      = "size"
	paramSignature = "sig"
)

// urlSigner makes and checks URLs of this server. The signature covers the
// method, the key, the expiry and every other query parameter.
type urlSigner struct {
	secret []byte
	base   string
	now    func() time.Time
}

func newURLSigner(secret []byte, base string, now func() time.Time) (urlSigner, error) {
	if len(secret) < minSecretLength {
		return urlSigner{}, errors.New("blob: the signing secret is shorter than 16 bytes")
	}
	s := urlSigner{secret: secret, base: base, now: now}
	if s.base == "" {
		s.base = defaultBase
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// SignGet implements Store. The URL is DiskConfig.Base, the key and a query;
// control/objects serves it.
func (d *Disk) SignGet(_ context.Context, key string, o SignOptions) (string, time.Time, error) {
	return d.signer.signGet(key, o)
}

// Verify checks the query of a URL that SignGet made, for GET and HEAD, and
// returns the options that were signed into it, TTL being what is left. It
// returns ErrSignature when the URL expired or anything in it was changed.
// Whether the grant still stands is the caller's to ask.
func (d *Disk) Verify(method, key string, query url.Values) (SignOptions, error) {
	return d.signer.verify(method, key, query)
}

// SignPut implements Store. The URL is as SignGet's.
func (d *Disk) SignPut(_ context.Context, key string, o PutOptions) (SignedPut, error) {
	return d.signer.signPut(key, o)
}

// VerifyPut checks the query of a URL that SignPut made, as Verify does. That
// the upload is as the options say is the caller's to see.
func (d *Disk) VerifyPut(key string, query url.Values) (PutOptions, error) {
	return d.signer.verifyPut(key, query)
}

// Signed is a Store whose signed URLs are this server's and not its own, for
// stores that browsers do not reach.
type Signed struct {
	Store
	signer urlSigner
}

// NewSigned returns s with URLs below /objects/, signed with a secret of at
// least 16 bytes and by a clock, time.Now when nil; control/objects serves them.
func NewSigned(s Store, secret []byte, now func() time.Time) (*Signed, error) {
	signer, err := newURLSigner(secret, "", now)
	if err != nil {
		return nil, err
	}
	return &Signed{Store: s, signer: signer}, nil
}

// SignGet implements Store.
func (s *Signed) SignGet(_ context.Context, key string, o SignOptions) (string, time.Time, error) {
	return s.signer.signGet(key, o)
}

// SignPut implements Store.
func (s *Signed) SignPut(_ context.Context, key string, o PutOptions) (SignedPut, error) {
	return s.signer.signPut(key, o)
}

// VerifyPut is as Disk.VerifyPut.
func (s *Signed) VerifyPut(key string, query url.Values) (PutOptions, error) {
	return s.signer.verifyPut(key, query)
}

// Verify is as Disk.Verify.
func (s *Signed) Verify(method, key string, query url.Values) (SignOptions, error) {
	return s.signer.verify(method, key, query)
}

func (s urlSigner) signGet(key string, o SignOptions) (string, time.Time, error) {
	if err := checkSign(key, o); err != nil {
		return "", time.Time{}, err
	}
	expires := s.now().Add(o.TTL).Truncate(time.Second).UTC()
	query := url.Values{paramExpires: {strconv.FormatInt(expires.Unix(), 10)}}
	if o.Filename != "" {
		query.Set(paramFilename, o.Filename)
	}
	if o.Grant != "" {
		query.Set(paramGrant, o.Grant)
	}
	return s.sign(http.MethodGet, key, query), expires, nil
}

// sign adds the signature to a query and returns the URL.
func (s urlSigner) sign(method, key string, query url.Values) string {
	query.Set(paramSignature, base64.RawURLEncoding.EncodeToString(s.mac(method, key, query)))
	return s.base + key + "?" + query.Encode()
}

func (s urlSigner) signPut(key string, o PutOptions) (SignedPut, error) {
	if err := checkPut(key, o); err != nil {
		return SignedPut{}, err
	}
	expires := s.now().Add(o.TTL).Truncate(time.Second).UTC()
	query := url.Values{
		paramExpires: {strconv.FormatInt(expires.Unix(), 10)},
		paramType:    {o.ContentType},
		paramSize:    {strconv.FormatInt(o.Size, 10)},
	}
	if o.Grant != "" {
		query.Set(paramGrant, o.Grant)
	}
	return SignedPut{
		URL: s.sign(http.MethodPut, key, query), Header: map[string]string{headerType: o.ContentType}, Expires: expires,
	}, nil
}

func (s urlSigner) verifyPut(key string, query url.Values) (PutOptions, error) {
	o, err := s.verify(http.MethodPut, key, query)
	if err != nil {
		return PutOptions{}, err
	}
	put := PutOptions{TTL: o.TTL, Grant: o.Grant, ContentType: query.Get(paramType)}
	put.Size, err = strconv.ParseInt(query.Get(paramSize), 10, 64)
	if err != nil {
		return PutOptions{}, ErrSignature
	}
	return put, nil
}

func checkSign(key string, o SignOptions) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if o.TTL < time.Second || len(o.Filename) > maxFilenameLength || len(o.Grant) > maxGrantLength {
		return errors.New("blob: bad time to live, file name or grant")
	}
	return nil
}

func (s urlSigner) verify(method, key string, query url.Values) (SignOptions, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if checkKey(key) != nil {
		return SignOptions{}, ErrSignature
	}
	for _, values := range query {
		if len(values) != 1 {
			return SignOptions{}, ErrSignature
		}
	}
	got, err := base64.RawURLEncoding.Strict().DecodeString(query.Get(paramSignature))
	if err != nil || !hmac.Equal(got, s.mac(method, key, query)) {
		return SignOptions{}, ErrSignature
	}
	expires, err := strconv.ParseInt(query.Get(paramExpires), 10, 64)
	left := time.Unix(expires, 0).Sub(s.now())
	if err != nil || left <= 0 {
		return SignOptions{}, ErrSignature
	}
	return SignOptions{TTL: left, Filename: query.Get(paramFilename), Grant: query.Get(paramGrant)}, nil
}

// mac signs a request. The key has no line end and the encoded query is
// sorted, so that two requests never have the same text.
func (s urlSigner) mac(method, key string, query url.Values) []byte {
	signed := url.Values{}
	for name, values := range query {
		if name != paramSignature {
			signed[name] = values
		}
	}
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte("securecam object url\n" + method + "\n" + key + "\n" + signed.Encode()))
	return h.Sum(nil)
}
