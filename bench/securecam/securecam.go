// Package securecam drives SecureCam's API as far as a load test needs it: it
// signs up a throw-away user, registers cameras that go live and clients that
// request their streams, and fetches where to publish and to play.
package securecam

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"time"

	"github.com/securecam/securecam/bench/whip"
)

const (
	maxBody       = 1 << 20
	readyTimeout  = 10 * time.Second
	readyInterval = 100 * time.Millisecond
)

// Setup is a user of the server with cameras that are live.
type Setup struct {
	cameras []camera
	base    string
	http    *http.Client
	user    client

	mu      sync.Mutex
	devices []string
}

type camera struct {
	id      string
	publish whip.Endpoint
}

type client struct {
	base  string
	http  *http.Client
	token string // of a device; empty for the user's browser
}

// awaitReady waits until the server can work: it may have been started at the
// same moment.
func awaitReady(ctx context.Context, h *http.Client, base string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		err := client{base: base, http: h}.call(ctx, "GET", "/ops/ready", nil, nil)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("securecam: %s is not ready: %w", base, err)
		}
	}
}

// New signs up and has so many cameras go live. Nothing is recorded. The
// server must let anybody sign up.
func New(ctx context.Context, h *http.Client, base string, cameras int) (*Setup, error) {
	base = strings.TrimSuffix(base, "/")
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	if err := awaitReady(ctx, h, base); err != nil {
		return nil, err
	}
	browser := *h
	browser.Jar = jar
	s := &Setup{base: base, http: h, user: client{base: base, http: &browser}}
	account := map[string]string{
		"name": "Bench", "email": "bench-" + strings.ToLower(rand.Text()) + "@example.org", "password": rand.Text(),
	}
	if err := s.user.call(ctx, "POST", "/api/auth/sign-up/email", account, nil); err != nil {
		return nil, err
	}
	for range cameras {
		c, err := s.goLive(ctx)
		if err != nil {
			return nil, errors.Join(err, s.Close(ctx))
		}
		s.cameras = append(s.cameras, c)
	}
	return s, nil
}

// Publish returns where a camera publishes.
func (s *Setup) Publish(number int) whip.Endpoint { return s.cameras[number].publish }

// goLive registers a camera and opens its media session, which stays open
// when nobody watches.
func (s *Setup) goLive(ctx context.Context) (camera, error) {
	id, calls, err := s.register(ctx, map[string]string{"name": "bench camera", "role": "camera", "recordingPolicy": "off"})
	if err != nil {
		return camera{}, err
	}
	var live struct {
		Credentials endpoint `json:"credentials"`
	}
	err = calls.call(ctx, "POST", "/media-sessions", nil, &live)
	return camera{id: id, publish: whip.Endpoint(live.Credentials)}, err
}

// Watch registers a client that requests a stream of a camera, and returns
// where it plays: each viewer is a device of its own, as in life.
func (s *Setup) Watch(ctx context.Context, number int) (whip.Endpoint, error) {
	_, calls, err := s.register(ctx, map[string]string{"name": "bench viewer", "role": "client"})
	if err != nil {
		return whip.Endpoint{}, err
	}
	var stream struct {
		ID string `json:"id"`
	}
	request := map[string]string{"cameraDeviceId": s.cameras[number].id}
	if err := calls.call(ctx, "POST", "/streams/request", request, &stream); err != nil {
		return whip.Endpoint{}, err
	}
	var play endpoint
	err = calls.call(ctx, "GET", "/streams/"+stream.ID+"/subscribe-credentials", nil, &play)
	return whip.Endpoint(play), err
}

// endpoint is the part of credentials that matters here.
type endpoint struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

func (s *Setup) register(ctx context.Context, in map[string]string) (id string, calls client, err error) {
	var out struct {
		Device struct {
			ID string `json:"id"`
		} `json:"device"`
		Token string `json:"token"`
	}
	if err := s.user.call(ctx, "POST", "/devices/register", in, &out); err != nil {
		return "", client{}, err
	}
	s.mu.Lock()
	s.devices = append(s.devices, out.Device.ID)
	s.mu.Unlock()
	return out.Device.ID, client{base: s.base, http: s.http, token: out.Token}, nil
}

// Close deletes the devices, and with them their streams.
func (s *Setup) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.devices {
		if err := s.user.call(ctx, "DELETE", "/devices/"+id, nil, nil); err != nil {
			return err
		}
	}
	s.devices = nil
	return nil
}

// call sends a request and decodes the answer into out.
func (c client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	} else {
		req.Header.Set("Origin", c.base)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("securecam: %s %s answered %s: %.300s", method, path, res.Status, got)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(got, out)
}
