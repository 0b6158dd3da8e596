// Package outbound makes the HTTP requests that users can ask this server for:
// push services, webhooks. Where such a request may go is not the user's
// choice alone.
//
// An address is allowed when it is public, or in a network that the operator
// names. What counts is the address that is dialled, so a name cannot be made
// to mean another one between look and call. Redirects are not followed, and
// plain HTTP goes only to the operator's networks.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	defaultTimeout    = 10 * time.Second
	dialTimeout       = 5 * time.Second
	maxResponse       = 16 << 10 // bytes of a response that are read
	maxHeader         = 16 << 10
	maxURL            = 2048
	longestRetryAfter = 3600 // seconds that a receiver may ask for
	idleConns         = 64
	idleConnsOfHost   = 4
	idleTimeout       = 30 * time.Second
)

var (
	// ErrURL reports a URL that is not allowed whatever it leads to.
	ErrURL = errors.New("outbound: not an allowed URL")
	// ErrAddress reports a URL that leads to an address which is not allowed.
	ErrAddress = errors.New("outbound: not an allowed address")
)

// Config says where requests may go.
type Config struct {
	// Networks may be reached although they are not public, and by plain HTTP.
	Networks []netip.Prefix
	// Timeout bounds a request with its response; 10 s if zero.
	Timeout time.Duration
}

// Client makes requests. It is safe for concurrent use.
type Client struct {
	networks []netip.Prefix
	secure   *http.Client
	plain    *http.Client
}

// New returns a Client; Close ends its idle connections.
func New(c Config) *Client {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	client := &Client{networks: slices.Clone(c.Networks)}
	client.secure = newHTTP(c.Timeout, client.public)
	client.plain = newHTTP(c.Timeout, client.named)
	return client
}

func newHTTP(timeout time.Duration, allowed func(netip.Addr) bool) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		target, err := netip.ParseAddrPort(address)
		if err != nil || !allowed(target.Addr().Unmap()) {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		return nil
	}}
	return &http.Client{
		Timeout: timeout,
		// A proxy of the environment would dial in our place, past the look.
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: maxHeader,
			MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConnsOfHost, IdleConnTimeout: idleTimeout,
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close ends the idle connections.
func (c *Client) Close() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

// Response is an answer, with the beginning of its body.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most 16 KiB
}

// RetryAfter reads how long the receiver asks to be left alone, in seconds as
// RFC 9110, section 10.2.3, has it: an hour at most, 0 for none.
func (r Response) RetryAfter() time.Duration {
	n, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, longestRetryAfter)) * time.Second
}

// Do sends a request and reads the answer. It returns an error that wraps
// ErrURL or ErrAddress for what is not allowed.
func (c *Client) Do(r *http.Request) (Response, error) {
	if err := c.Check(r.URL.String()); err != nil {
		return Response{}, err
	}
	client := c.secure
	if r.URL.Scheme == "http" {
		client = c.plain
	}
	answer, err := client.Do(r)
	if err != nil {
		return Response{}, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxResponse))
	if err := errors.Join(err, answer.Body.Close()); err != nil && answer.StatusCode < http.StatusBadRequest {
		return Response{}, err
	}
	return Response{Status: answer.StatusCode, Header: answer.Header, Body: body}, nil
}

// Check says, without asking anybody, whether a URL may be allowed: with a name
// in it, that is known when it is dialled. It returns ErrURL or ErrAddress.
func (c *Client) Check(rawURL string) error {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil || len(rawURL) > maxURL || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return ErrURL
	case u.Scheme == "http" && len(c.networks) == 0, u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%w: use https", ErrURL)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil //nolint:nilerr // a name
	}
	allowed := c.public
	if u.Scheme == "http" {
		allowed = c.named
	}
	if !allowed(ip.Unmap()) {
		return fmt.Errorf("%w: %s", ErrAddress, ip)
	}
	return nil
}

// named says whether an address is in a network of the operator.
func (c *Client) named(ip netip.Addr) bool {
	return slices.ContainsFunc(c.networks, func(p netip.Prefix) bool { return p.Contains(ip.WithZone("")) })
}

// public says whether an address is public, or in a network of the operator.
func (c *Client) public(ip netip.Addr) bool {
	if c.named(ip) {
		return true
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !reserved(ip)
}

// reserved covers what IANA keeps from the public Internet, beyond what
// net/netip knows, and the IPv6 addresses that stand for IPv4 ones.
func reserved(ip netip.Addr) bool {
	for _, p := range [...]string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
		"5f00::/16", "fec0::/10",
	} {
		if netip.MustParsePrefix(p).Contains(ip) {
			return true
		}
	}
	return false
}

// Post is Do for a POST request with a body.
func (c *Client) Post(ctx context.Context, rawURL string, header http.Header, body io.Reader) (Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, rawURL, body)
	if err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	r.Header = header
	return c.Do(r)
}
