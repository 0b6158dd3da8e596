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
	defaultBase       = "/objects/"

	paramExpires   = "expires"
	paramFilename  = "filename"
	paramSignature = "sig"
)

// diskSigner makes and checks the URLs of a Disk. The signature covers the
// method, the key, the expiry and every other query parameter.
type diskSigner struct {
	secret []byte
	base   string
	now    func() time.Time
}

func newDiskSigner(c DiskConfig) (diskSigner, error) {
	if len(c.Secret) < minSecretLength {
		return diskSigner{}, errors.New("blob: the signing secret is shorter than 16 bytes")
	}
	s := diskSigner{secret: c.Secret, base: c.Base, now: c.Now}
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
	if err := checkSign(key, o); err != nil {
		return "", time.Time{}, err
	}
	expires := d.signer.now().Add(o.TTL).Truncate(time.Second).UTC()
	query := url.Values{paramExpires: {strconv.FormatInt(expires.Unix(), 10)}}
	if o.Filename != "" {
		query.Set(paramFilename, o.Filename)
	}
	query.Set(paramSignature, base64.RawURLEncoding.EncodeToString(d.signer.mac(http.MethodGet, key, query)))
	return d.signer.base + key + "?" + query.Encode(), expires, nil
}

func checkSign(key string, o SignOptions) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if o.TTL < time.Second || len(o.Filename) > maxFilenameLength {
		return errors.New("blob: bad time to live or file name")
	}
	return nil
}

// Verify checks the query of a URL that SignGet made, for GET and HEAD, and
// returns the file name that was signed into it. It returns ErrSignature when
// the URL expired or anything in it was changed.
func (d *Disk) Verify(method, key string, query url.Values) (filename string, err error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if checkKey(key) != nil {
		return "", ErrSignature
	}
	for _, values := range query {
		if len(values) != 1 {
			return "", ErrSignature
		}
	}
	got, err := base64.RawURLEncoding.Strict().DecodeString(query.Get(paramSignature))
	if err != nil || !hmac.Equal(got, d.signer.mac(method, key, query)) {
		return "", ErrSignature
	}
	expires, err := strconv.ParseInt(query.Get(paramExpires), 10, 64)
	if err != nil || d.signer.now().Unix() >= expires {
		return "", ErrSignature
	}
	return query.Get(paramFilename), nil
}

// mac signs a request. The key has no line end and the encoded query is
// sorted, so that two requests never have the same text.
func (s diskSigner) mac(method, key string, query url.Values) []byte {
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
