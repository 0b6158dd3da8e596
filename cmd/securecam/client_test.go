package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/securecam/securecam/bench/peer"
)

// The shapes of the API as a client sees them: written out here, so that a
// change of the server's types shows.
type (
	deviceJSON struct {
		ID     string `json:"id"`
		Role   string `json:"role"`
		Status string `json:"status"`
	}
	registered struct {
		Device deviceJSON `json:"device"`
		Token  string     `json:"token"`
		Links  []struct {
			ID string `json:"id"`
		} `json:"links"`
	}
	streamJSON struct {
		ID             string `json:"id"`
		CameraDeviceID string `json:"cameraDeviceId"`
		Status         string `json:"status"`
		Reason         string `json:"reason"`
		MediaSessionID string `json:"mediaSessionId"`
	}
	credentialsJSON struct {
		Protocol   string `json:"protocol"`
		URL        string `json:"url"`
		Token      string `json:"token"`
		ICEServers []struct {
			URLs []string `json:"urls"`
		} `json:"iceServers"`
	}
	recordingJSON struct {
		ID          string `json:"id"`
		Status      string `json:"status"`
		ContentType string `json:"contentType"`
		DurationMS  int64  `json:"durationMs"`
		Size        int64  `json:"size"`
		Error       string `json:"error"`
	}
	envelopeJSON struct {
		Event  string          `json:"event"`
		ID     string          `json:"id,omitempty"`
		Cursor string          `json:"cursor,omitempty"`
		Data   json.RawMessage `json:"data,omitempty"`
	}
)

func (c credentialsJSON) endpoint() peer.Endpoint { return peer.Endpoint{URL: c.URL, Token: c.Token} }

// apiClient is one user's browser or one device.
type apiClient struct {
	t     *testing.T
	base  string
	http  *http.Client
	token string // device token; empty for a browser with its cookie
	after string // cursor to come back to the gateway with
}

func newBrowser(t *testing.T, base string) *apiClient {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &apiClient{t: t, base: base, http: &http.Client{Jar: jar, Transport: transport, Timeout: patience}}
}

// signUp makes a browser with an account of its own.
func signUp(t *testing.T, base, email string) *apiClient {
	t.Helper()
	b := newBrowser(t, base)
	b.must(http.StatusOK, "POST", "/api/auth/sign-up/email",
		map[string]string{"name": "Ada", "email": email, "password": "correct horse battery"}, nil)
	return b
}

// register makes a device of the browser's user.
func (c *apiClient) register(role string) (*apiClient, registered) {
	c.t.Helper()
	var r registered
	c.must(http.StatusCreated, "POST", "/devices/register", map[string]string{
		"name": role, "role": role, "recordingPolicy": "session",
	}, &r)
	return &apiClient{t: c.t, base: c.base, http: &http.Client{Transport: c.http.Transport, Timeout: patience}, token: r.Token}, r
}

// raw sends a request and returns the answer.
func (c *apiClient) raw(method, path string, in any) (int, []byte) {
	c.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			c.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
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
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	checkContract(c.t, c.base, res, got)
	return res.StatusCode, got
}

// checkContract holds an answer, wherever it came from in the end, against the
// description that the server at base gives of itself.
func checkContract(t *testing.T, base string, res *http.Response, body []byte) {
	t.Helper()
	if promised := contractOf(t, base); promised != nil && strings.HasPrefix(res.Request.URL.String(), base) {
		promised.check(t, res.Request.Method, res.Request.URL.EscapedPath(), res.StatusCode, res.Header.Get("Content-Type"), body)
	}
}

// send is raw for a body that need not be JSON.
func (c *apiClient) send(method, path, contentType, body string) (int, []byte) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	} else {
		req.Header.Set("Origin", c.base)
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	got := readAll(c.t, res.Body)
	checkContract(c.t, c.base, res, got)
	return res.StatusCode, got
}

// must fails the test unless the answer has the wanted status.
func (c *apiClient) must(want int, method, path string, in, out any) {
	c.t.Helper()
	status, body := c.raw(method, path, in)
	if status != want {
		c.t.Fatalf("%s %s: got %d, want %d: %s", method, path, status, want, body)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			c.t.Fatalf("%s %s: %v in %q", method, path, err, body)
		}
	}
}

// stream reads the stream with this id.
func (c *apiClient) stream(id string) streamJSON {
	c.t.Helper()
	var s streamJSON
	c.must(http.StatusOK, "GET", "/streams/"+id, nil, &s)
	return s
}

// socket is a device's connection to the gateway.
type socket struct {
	t      *testing.T
	conn   *websocket.Conn
	events chan envelopeJSON
	done   chan struct{}
	seen   string // the cursor of the last event that await has taken
}

func (s *socket) cursor() string { return s.seen }

// connect opens the gateway and waits until it is ready.
func (c *apiClient) connect() *socket {
	c.t.Helper()
	header := http.Header{"Authorization": {"Bearer " + c.token}}
	url := strings.Replace(c.base, "http", "ws", 1) + "/realtime"
	if c.after != "" {
		url += "?after=" + c.after
	}
	conn, res, err := websocket.DefaultDialer.DialContext(c.t.Context(), url, header)
	if err != nil {
		c.t.Fatalf("gateway: %v (%v)", err, res)
	}
	s := &socket{t: c.t, conn: conn, events: make(chan envelopeJSON, 64), done: make(chan struct{})}
	go s.read()
	c.t.Cleanup(func() {
		_ = conn.Close()
		<-s.done
	})
	s.await("ready")
	return s
}

func (s *socket) read() {
	defer close(s.done)
	for {
		var e envelopeJSON
		if s.conn.ReadJSON(&e) != nil {
			return // closed
		}
		s.events <- e
	}
}

// await returns the data of the next event of that name, skipping others.
func (s *socket) await(event string) json.RawMessage {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-s.events:
			if e.Cursor != "" {
				s.seen = e.Cursor
			}
			if e.Event == event {
				return e.Data
			}
		case <-timeout:
			s.t.Fatalf("no %s event in %v", event, patience)
		}
	}
}

func (s *socket) send(event, id string, data any) {
	s.t.Helper()
	b, err := json.Marshal(data)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.conn.WriteJSON(envelopeJSON{Event: event, ID: id, Data: b}); err != nil {
		s.t.Fatal(err)
	}
}

// patience is for what must happen soon: how soon is a busy machine's affair.
const patience = time.Minute

// eventually polls until check returns "" or the deadline passes.
func eventually(t *testing.T, within time.Duration, check func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		problem := check()
		if problem == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %v: %s", within, problem)
		}
	}
}
