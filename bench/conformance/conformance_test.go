package conformance

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wrongServer does most things wrong, each in a way that some server out there has: it takes everything, names sessions
// by a counter, quotes no entity-tags, rejects half of an offer, restarts ICE without a new session, heeds no If-Match.
func wrongServer(t *testing.T) string {
	t.Helper()
	n := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip", func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Location", fmt.Sprintf("/session/%d", n))
		w.Header().Set("ETag", "*")
		w.Header().Set("Link", `<turn%3Aturn.example.org>; rel="ice-server"`)
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "v=0\r\ns=-\r\nt=0 0\r\na=ice-options:trickle\r\n"+
			"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=sendrecv\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=setup:actpass\r\na=rid:x recv\r\n"+
			"m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=inactive\r\na=rtcp-fb:96 transport-cc\r\na=simulcast:recv x\r\n")
	})
	mux.HandleFunc("PATCH /session/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", "*")
		fmt.Fprint(w, "a=ice-lite\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n")
	})
	mux.HandleFunc("DELETE /session/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match") != "" {
			w.WriteHeader(http.StatusPreconditionFailed)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusNotFound) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/whip"
}

// TestWrongServer holds that the runner finds what is wrong: a runner that cannot fail says nothing.
func TestWrongServer(t *testing.T) {
	t.Parallel()
	outcome := map[string]Outcome{}
	results, err := Run(t.Context(), Target{WHIP: wrongServer(t), Token: "t"}, func(r Result) { outcome[r.ID] = r.Outcome })
	if err != nil {
		t.Fatal(err)
	}
	passes := map[string]bool{
		// what even this server does, or cannot be blamed for
		"whip-post-created": true, "whip-post-location": true, "whip-post-type-parameters": true, "whip-post-type-case": true,
		"whip-post-sendrecv": true, "whip-post-two-videos": true, "whip-post-setup-active": true, "whip-post-setup-passive": true,
		"whip-post-no-candidates": true, "whip-post-no-redirect": true, "whip-answer-sections": true, "whip-delete": true,
		"whip-delete-200": true, "whip-etag-present": true, "whip-preflight-no-ice-servers": true, "whip-simulcast": true,
		"whip-restart": true, "whip-restart-quoted": true,
	}
	for _, r := range results {
		switch {
		case passes[r.ID] && r.Outcome != Passed:
			t.Errorf("%s: %s %s", r.ID, r.Outcome, r.Detail)
		case !passes[r.ID] && r.Outcome == Passed:
			t.Errorf("%s passes a server that does everything wrong", r.ID)
		case r.Section == "" || r.Title == "":
			t.Errorf("%s cites nothing", r.ID)
		}
	}
	if n := Count(results, Failed, ""); n < 70 {
		t.Errorf("only %d checks fail", n)
	}
	var table, junit bytes.Buffer
	if err := Table(&table, results); err != nil {
		t.Fatal(err)
	}
	if err := JUnit(&junit, results); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "FAIL") || !strings.Contains(table.String(), "RFC 9725 4.3.1") {
		t.Errorf("table\n%s", table.String())
	}
	var suite junitSuite
	if err := xml.Unmarshal(junit.Bytes(), &suite); err != nil || suite.Tests != len(results) || suite.Failures != Count(results, Failed, "") {
		t.Errorf("JUnit %d of %d, %v", suite.Failures, suite.Tests, err)
	}
}

// TestNoServer holds that a server that is not there fails every check, soon.
func TestNoServer(t *testing.T) {
	t.Parallel()
	began := time.Now()
	results, err := Run(t.Context(), Target{WHEP: "http://127.0.0.1:1/whep"}, func(Result) {})
	if err != nil || Count(results, Passed, "") != 0 {
		t.Errorf("%d pass, %v", Count(results, Passed, ""), err)
	}
	t.Logf("%d checks in %v", len(results), time.Since(began))
}

// TestIDs holds that every check has a name of its own.
func TestIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, checks := range [][]Check{idleChecks(), common("whip"), whipChecks(), common("whep"), whepChecks()} {
		for _, c := range checks {
			if seen[c.ID] || !strings.HasPrefix(c.ID, "whip-") && !strings.HasPrefix(c.ID, "whep-") {
				t.Errorf("%q", c.ID)
			}
			seen[c.ID] = true
		}
	}
}

// TestGuessable tells secrets from counters and clocks, however long their names.
func TestGuessable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		want bool
	}{
		{"1", "2", true},
		{"same", "same", true},
		{"publisher-session-0000000041", "publisher-session-0000000042", true},
		{"abcdefghijklmnopqrstuvwxyz-7", "abcdefghijklmnopqrstuvwxyz-8", true},
		{"1795831200000000123", "1795831200003456789", true}, // a clock
		{"dks3jx9a0qm2", "dks3jx9a7xk1", true},
		{"0af31bd7c9e26a58", "0c11e7d9a4b37f02", false},
		{"7d1c8a52-9f0e-4b7a-8c35-61e2d0a9b4f3", "e2b94f06-1a7d-4c58-9e21-0f8c7d6b5a43", false},
		{"eyJhbGciOiJIUzI1NiJ9.Zm9vYmFyYmF6cXV4", "eyJhbGciOiJIUzI1NiJ9.cXV1eHF1dXV4MTIz", false},
	}
	for _, tt := range tests {
		if got := guessable(tt.a, tt.b); got != tt.want {
			t.Errorf("%s, %s: guessable %t", tt.a, tt.b, got)
		}
	}
}

// TestLoadChecks holds that limits are seen where there are some, and what is wrong with them.
func TestLoadChecks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		status     int
		retryAfter string
		rate, busy Outcome
	}{
		{"limits", http.StatusTooManyRequests, "0", Passed, Failed},
		{"no pause", http.StatusTooManyRequests, "", Failed, Failed},
		{"a pause in words", http.StatusTooManyRequests, "soon", Failed, Failed},
		{"busy", http.StatusServiceUnavailable, "1", Skipped, Passed},
		{"busy for how long", http.StatusServiceUnavailable, "", Skipped, Failed},
		{"boundless", http.StatusCreated, "", Skipped, Failed},
		{"breaks", http.StatusInternalServerError, "", Failed, Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/busy" || asked.Add(1)%50 == 0 {
					w.Header().Set("Retry-After", tt.retryAfter)
					w.WriteHeader(tt.status)
					return
				}
				w.WriteHeader(http.StatusBadRequest)
			}))
			defer s.Close()
			p := &probe{
				http: newHTTPClient(false), protocol: "whip", endpoint: s.URL,
				load: Load{Burst: 100, BusyWHIP: s.URL + "/busy"}.of(s.URL+"/busy", "t"),
			}
			defer p.http.CloseIdleConnections()
			for _, c := range loadChecks() {
				r := p.hold(t.Context(), c)
				if want, ok := map[string]Outcome{"rate-post": tt.rate, "overload": tt.busy}[c.ID]; ok && r.Outcome != want {
					t.Errorf("%s: %s %s, want %s", c.ID, r.Outcome, r.Detail, want)
				}
			}
			if r := p.hold(t.Context(), loadChecks()[0]); tt.rate == Skipped && !strings.Contains(r.Detail, "not provoked: 100") {
				t.Errorf("%q does not say what was tried", r.Detail)
			}
		})
	}
}
