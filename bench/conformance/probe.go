package conformance

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	typeSDP     = "application/sdp"
	typeSDPFrag = "application/trickle-ice-sdpfrag"

	requestTimeout = 20 * time.Second
	maxBody        = 1 << 20
	maxPause       = 10 * time.Second
	maxTries       = 8
)

// probe asks one endpoint of the server.
type probe struct {
	http     *http.Client
	protocol string
	endpoint string
	token    string
	other    string   // token for the other protocol, if there is one
	load     Load     // that it may be put under
	opened   []string // sessions to delete after the check
	peers    []func() // PeerConnections to close after the check
}

func newHTTPClient(insecure bool) *http.Client {
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure}}, //nolint:gosec // as asked for
	}
}

// request is what is asked. An empty token is the probe's, "-" is none.
type request struct {
	method, url, token string
	contentType, body  string
	header             http.Header
}

type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request. A server that asks to wait is obeyed for a while: rate
// limits are allowed everywhere (RFC 9725, section 5).
func (p *probe) do(ctx context.Context, r request) (response, error) {
	for try := 1; ; try++ {
		got, err := p.once(ctx, r)
		if err != nil || got.status != http.StatusTooManyRequests || try == maxTries {
			return got, err
		}
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		if err != nil {
			seconds = 1
		}
		select {
		case <-time.After(min(time.Duration(seconds)*time.Second, maxPause)):
		case <-ctx.Done():
			return got, ctx.Err()
		}
	}
}

func (p *probe) once(ctx context.Context, r request) (response, error) {
	target := r.url
	if target == "" {
		target = p.endpoint
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, strings.NewReader(r.body))
	if err != nil {
		return response{}, err
	}
	switch r.token {
	case "":
		if p.token != "" {
			req.Header.Set("Authorization", "Bearer "+p.token)
		}
	case "-":
	default:
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	res, err := p.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	return response{res.StatusCode, res.Header, string(body)}, err
}

// session is a WHIP or WHEP session that the server has opened.
type session struct {
	url, etag string
	answer    description
	offer     offer
	created   response
}

// post sends an offer and remembers the session, if one comes of it.
func (p *probe) post(ctx context.Context, sdp string) (response, error) {
	got, err := p.do(ctx, request{method: http.MethodPost, contentType: typeSDP, body: sdp})
	p.remember(got)
	return got, err
}

func (p *probe) remember(got response) {
	if got.status == http.StatusCreated || got.status == http.StatusNotAcceptable {
		if u, err := p.resolve(got.header.Get("Location")); err == nil {
			p.opened = append(p.opened, u)
		}
	}
}

// open opens a session with an offer of the kind that the server is for.
func (p *probe) open(ctx context.Context) (session, error) {
	return p.openWith(ctx, newOffer(p.protocol))
}

func (p *probe) openWith(ctx context.Context, o offer) (session, error) {
	got, err := p.post(ctx, o.String())
	if err != nil {
		return session{}, err
	}
	if got.status != http.StatusCreated {
		return session{}, fmt.Errorf("POST of an offer: %d, want 201: %.200s", got.status, got.body)
	}
	u, err := p.resolve(got.header.Get("Location"))
	if err != nil {
		return session{}, err
	}
	answer, err := parse(got.body)
	return session{url: u, etag: got.header.Get("ETag"), answer: answer, offer: o, created: got}, err
}

// resolve makes a Location absolute.
func (p *probe) resolve(location string) (string, error) {
	if location == "" {
		return "", fmt.Errorf("no Location")
	}
	base, err := url.Parse(p.endpoint)
	if err != nil {
		return "", err
	}
	u, err := base.Parse(location)
	if err != nil {
		return "", fmt.Errorf("location %q: %w", location, err)
	}
	return u.String(), nil
}

// patch sends a fragment to a session. An empty ifMatch sends no header.
func (p *probe) patch(ctx context.Context, s session, ifMatch, fragment string) (response, error) {
	r := request{method: http.MethodPatch, url: s.url, contentType: typeSDPFrag, body: fragment, header: http.Header{}}
	if ifMatch != "" {
		r.header.Set("If-Match", ifMatch)
	}
	return p.do(ctx, r)
}

// cleanUp ends what a check has left.
func (p *probe) cleanUp(ctx context.Context) {
	for _, closePeer := range p.peers {
		closePeer()
	}
	for _, u := range p.opened {
		_, _ = p.do(context.WithoutCancel(ctx), request{method: http.MethodDelete, url: u}) // it may be gone already
	}
	p.peers, p.opened = nil, nil
}

func token(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// want compares a status with the allowed ones: a whole class is 400 for 4xx.
func want(what string, got response, allowed ...int) error {
	for _, a := range allowed {
		if got.status == a || a%100 == 0 && got.status/100 == a/100 && a != http.StatusOK {
			return nil
		}
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = strconv.Itoa(a)
		if a%100 == 0 && a != http.StatusOK {
			names[i] = strconv.Itoa(a/100) + "xx"
		}
	}
	return fmt.Errorf("%s: %d, want %s: %.200s", what, got.status, strings.Join(names, " or "), got.body)
}

// success is any 2xx.
func success(what string, got response) error {
	if got.status/100 != 2 {
		return fmt.Errorf("%s: %d, want 2xx: %.200s", what, got.status, got.body)
	}
	return nil
}
