// Package whip speaks the HTTP part of WHIP (RFC 9725) and WHEP: it posts an
// offer and deletes the session.
package whip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxAnswer = 1 << 20
	timeout   = 20 * time.Second
)

// Endpoint is a WHIP or WHEP URL with the bearer token for it, if any.
type Endpoint struct {
	URL   string
	Token string
}

// Client keeps connections to the server. Close it.
type Client struct{ http *http.Client }

// NewClient returns a client that keeps up to conns connections. insecure
// accepts any certificate: a server on the bench has a self-signed one.
func NewClient(conns int, insecure bool) *Client {
	return &Client{http: &http.Client{Timeout: timeout, Transport: &http.Transport{
		MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure}, //nolint:gosec // as asked for
	}}}
}

// HTTP returns the underlying client, for the server's other routes.
func (c *Client) HTTP() *http.Client { return c.http }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Post offers and returns the answer and the URL of the session.
func (c *Client) Post(ctx context.Context, e Endpoint, offer string) (answer, session string, err error) {
	res, err := c.do(ctx, http.MethodPost, e.URL, e.Token, offer)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", "", fmt.Errorf("whip: %s answered %s: %.300s", e.URL, res.Status, body)
	}
	base, err := url.Parse(e.URL)
	if err != nil {
		return "", "", err
	}
	location := res.Header.Get("Location")
	if location == "" {
		return string(body), "", nil // against RFC 9725, but some servers leave it out
	}
	resolved, err := base.Parse(location)
	if err != nil {
		return "", "", err
	}
	return string(body), resolved.String(), nil
}

// Delete ends a session.
func (c *Client) Delete(ctx context.Context, e Endpoint, session string) error {
	if session == "" {
		return nil
	}
	res, err := c.do(ctx, http.MethodDelete, session, e.Token, "")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	return errors.Join(err, res.Body.Close())
}

func (c *Client) do(ctx context.Context, method, target, token, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/sdp")
	}
	return c.http.Do(req)
}
