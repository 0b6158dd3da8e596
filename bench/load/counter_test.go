package load_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/whip"
	"github.com/securecam/securecam/bench/wire"
)

const (
	offerHead  = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\na=setup:actpass\r\na=group:BUNDLE a v\r\n"
	offerKeys  = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
	offerAudio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=rtpmap:111 opus/48000/2\r\n"
	offerVideo = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n"
)

// refusal answers every offer with one of its own, and that with a status. It counts the sessions that are deleted.
type refusal struct {
	contentType, location, offer string
	patched                      int
	answer                       string
	deleted                      atomic.Int64
}

func (s *refusal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		w.Header().Set("Content-Type", s.contentType)
		if s.location != "" {
			w.Header().Set("Location", s.location)
		}
		w.WriteHeader(http.StatusNotAcceptable)
		_, _ = io.WriteString(w, s.offer)
	case http.MethodPatch:
		b, _ := io.ReadAll(r.Body)
		s.answer = r.Header.Get("Content-Type") + " " + r.Header.Get("If-Match") + "\n" + string(b)
		w.WriteHeader(s.patched)
		_, _ = io.WriteString(w, "I do not like it")
	case http.MethodDelete:
		if r.URL.Path == "/a/session" {
			s.deleted.Add(1)
		}
	}
}

func client(t *testing.T, url string) *load.Client {
	t.Helper()
	poller, err := wire.NewPoller(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := whip.NewClient(1, false)
	t.Cleanup(func() {
		h.Close()
		if err := poller.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := load.NewClient(t.Context(), h, poller, url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBadCounterOffers has servers offer what no viewer can take: each says why, and leaves no session behind.
func TestBadCounterOffers(t *testing.T) {
	t.Parallel()
	const sdp = "application/sdp"
	good := offerHead + offerKeys + offerAudio + offerVideo
	sound, large := offerHead+offerKeys+offerAudio, good+strings.Repeat("a", 1<<20)
	for name, tt := range map[string]struct {
		server  *refusal
		want    string
		session bool // there is one to delete
	}{
		"no offer":       {&refusal{contentType: "text/plain", location: "session", offer: "no"}, "406 Not Acceptable: no", false},
		"no location":    {&refusal{contentType: sdp, offer: good}, "has no Location", false},
		"empty":          {&refusal{contentType: sdp, location: "session"}, "without SDP", true},
		"no SDP":         {&refusal{contentType: sdp, location: "session", offer: "no"}, "rtc: offer: ", true},
		"oversized":      {&refusal{contentType: sdp, location: "session", offer: large}, "more than 1048576 bytes", true},
		"no credentials": {&refusal{contentType: sdp, location: "session", offer: offerHead + offerVideo}, "no ICE credentials", true},
		"no video":       {&refusal{contentType: sdp, location: "session", offer: sound}, "offers no video in VP8", true},
		"no candidate":   {&refusal{contentType: sdp + "; a=b", location: "session", offer: good, patched: 204}, "no UDP candidate", true},
		"answer refused": {&refusal{contentType: sdp, location: "session", offer: good, patched: 400}, "400 Bad Request: I do not", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tt.server)
			t.Cleanup(server.Close)
			c := client(t, server.URL)
			endpoint := whip.Endpoint{URL: server.URL + "/a/play"}
			_, err := c.Play(t.Context(), load.ViewerConfig{
				Endpoint: endpoint, Sources: []*load.Source{load.FileSource(load.VP8)}, Meter: &load.Meter{},
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if got := tt.server.deleted.Load() == 1; got != tt.session {
				t.Errorf("the session was deleted: %t, want %t", got, tt.session)
			}
			if answered := tt.server.patched != 0; answered != strings.HasPrefix(tt.server.answer, "application/sdp \nv=0\r\n") {
				t.Errorf("the server was answered %q", tt.server.answer)
			}
			if _, err := c.Publish(t.Context(), load.CameraConfig{Endpoint: endpoint, Picture: load.Picture{Codec: load.VP8}}); err == nil {
				t.Error("a camera took it")
			}
		})
	}
}
