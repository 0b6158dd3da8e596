// Package whip speaks the HTTP part of WHIP (RFC 9725) and WHEP: it posts an
// offer, answers the one that a server may make instead, and deletes the
// session.
package whip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxAnswer = 1 << 20
	timeout   = 20 * time.Second
	typeSDP   = "application/sdp"
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

// Reply is what a server says to an offer.
type Reply struct {
	SDP     string
	Session string // URL of the session, "" if the server names none
	Counter bool   // the SDP is an offer of the server's own, which waits for Answer
	etag    string
}

// Post offers. Where the reply names a session, that is to be deleted, also
// after an error.
func (c *Client) Post(ctx context.Context, e Endpoint, offer string) (Reply, error) {
	res, err := c.do(ctx, http.MethodPost, e.URL, e.Token, offer, "")
	if err != nil {
		return Reply{}, err
	}
	body, failed := read(res)
	counter := res.StatusCode == http.StatusNotAcceptable && isSDP(res.Header.Get("Content-Type"))
	if res.StatusCode != http.StatusCreated && !counter {
		return Reply{}, errors.Join(refused(e.URL, res, body), failed)
	}
	r := Reply{SDP: body, Counter: counter, etag: res.Header.Get("ETag")}
	r.Session, err = resolve(e.URL, res.Header.Get("Location"))
	switch {
	case err != nil:
		return r, err
	case failed != nil:
		return r, fmt.Errorf("whip: the SDP of %s: %w", e.URL, failed)
	case counter && r.Session == "":
		return r, fmt.Errorf("whip: the counter-offer of %s has no Location to answer to", e.URL)
	case body == "":
		return r, fmt.Errorf("whip: %s answered %s without SDP", e.URL, res.Status)
	}
	return r, nil
}

// Answer answers a server's offer (draft-ietf-wish-whep, section 4.3.2).
func (c *Client) Answer(ctx context.Context, e Endpoint, r Reply, answer string) error {
	res, err := c.do(ctx, http.MethodPatch, r.Session, e.Token, answer, r.etag)
	if err != nil {
		return err
	}
	body, err := read(res)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusOK {
		return refused(r.Session, res, body)
	}
	return nil
}

func refused(target string, res *http.Response, body string) error {
	return fmt.Errorf("whip: %s answered %s: %.300s", target, res.Status, body)
}

// read takes the body and closes it.
func read(res *http.Response) (string, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("more than %d bytes", maxAnswer)
	}
	return string(body), errors.Join(err, res.Body.Close())
}

func isSDP(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == typeSDP
}

// resolve returns the URL of a session. Location is required by RFC 9725, but
// some servers leave it out.
func resolve(endpoint, location string) (string, error) {
	if location == "" {
		return "", nil
	}
	base, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	u, err := base.Parse(location)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// Delete ends a session.
func (c *Client) Delete(ctx context.Context, e Endpoint, session string) error {
	if session == "" {
		return nil
	}
	res, err := c.do(ctx, http.MethodDelete, session, e.Token, "", "")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	return errors.Join(err, res.Body.Close())
}

func (c *Client) do(ctx context.Context, method, target, token, body, etag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", typeSDP)
	}
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	return c.http.Do(req)
}
