package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/bench/impair"
)

// impaired is a Chromium camera with three layers of up to 5 Mbit/s, and a Chromium viewer behind a bad network.
type impaired struct {
	t           *testing.T
	proxy       *impair.Proxy
	script      *browsers
	credentials json.RawMessage
}

// sample is what the viewer's statistics say at one moment; the counters are since it began to watch.
type sample struct {
	Gap      float64 `json:"gap"` // the longest time without a new picture since the sample before, ms
	At       float64 `json:"at"`  // ms
	Height   int     `json:"height"`
	Layer    string  `json:"layer"` // whose picture has that height, "" if none has
	Decoded  int     `json:"decoded"`
	Received int     `json:"received"`
	Dropped  int     `json:"dropped"`
	Lost     int     `json:"lost"`
	Packets  int     `json:"packets"`
	Bytes    int     `json:"bytes"`
	Freezes  int     `json:"freezes"`
	Frozen   float64 `json:"frozen"` // s
	NACKs    int     `json:"nacks"`
	PLIs     int     `json:"plis"`
	RTX      int     `json:"rtx"`
	State    string  `json:"state"`
}

// stretch is what the viewer saw for a while.
type stretch struct {
	Samples []sample           `json:"samples"`
	Sent    map[string]float64 `json:"sent"` // bit/s of the camera's layers
	Top     int                `json:"top"`  // lines of its top layer, fewer than 720 on a busy machine
}

// startImpaired starts everything but the viewer's session. With noise the camera's top layer takes 4 Mbit/s, and much of
// the machine.
func startImpaired(t *testing.T, noise bool) *impaired {
	t.Helper()
	app := startForBrowsers(t)
	target, err := url.Parse(app.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := impair.Start(impair.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	relay := httptest.NewServer(impair.Signalling(target, proxy))
	t.Cleanup(func() {
		relay.Close()
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	user := signUp(t, app.url, "impaired@example.org")
	var info registered
	user.must(http.StatusCreated, "POST", "/devices/register",
		map[string]string{"name": "camera", "role": "camera", "recordingPolicy": "off"}, &info)
	camera := &apiClient{t: t, base: app.url, http: user.http, token: info.Token}
	var live struct {
		Credentials json.RawMessage `json:"credentials"`
	}
	camera.must(http.StatusCreated, "POST", "/media-sessions", nil, &live)
	script := startBrowsers(t, "impaired.mjs", app.url, relay.URL)
	script.ask("publish", map[string]any{"credentials": live.Credentials, "noise": noise}, nil)
	client, _ := user.register("client")
	_, credentials := request[json.RawMessage](client, info.Device.ID)
	credentials = bytes.ReplaceAll(credentials, []byte(app.url), []byte(relay.URL))
	return &impaired{t: t, proxy: proxy, script: script, credentials: credentials}
}

// watch begins to watch over links in the words of impair.ParseLink, and returns the time to the first picture.
func (i *impaired) watch(up, down string) time.Duration {
	i.t.Helper()
	i.set(up, down)
	var ms float64
	i.script.ask("watch", map[string]any{"credentials": i.credentials}, &ms)
	return time.Duration(ms * float64(time.Millisecond))
}

func (i *impaired) set(up, down string) {
	i.t.Helper()
	var links [2]impair.Link
	for n, words := range []string{up, down} {
		if err := links[n].UnmarshalText([]byte(words)); err != nil {
			i.t.Fatal(err)
		}
	}
	if err := i.proxy.Set(links[0], links[1]); err != nil {
		i.t.Fatal(err)
	}
}

func (i *impaired) measure(seconds int) stretch {
	i.t.Helper()
	var s stretch
	i.script.ask("measure", map[string]any{"seconds": seconds}, &s)
	return s
}

func (s *stretch) first() sample { return s.Samples[0] }
func (s *stretch) last() sample  { return s.Samples[len(s.Samples)-1] }

// gap is the longest time without a new picture, in ms.
func (s *stretch) gap() float64 {
	most := 0.0
	for _, x := range s.Samples[1:] {
		most = max(most, x.Gap)
	}
	return most
}

// fps is the frames decoded a second.
func (s *stretch) fps() float64 {
	return float64(s.last().Decoded-s.first().Decoded) / (s.last().At - s.first().At) * 1000
}

// trail says which layer was seen from when on, in seconds.
func (s *stretch) trail() string {
	var b strings.Builder
	for k, x := range s.Samples {
		if k == 0 || x.Layer != s.Samples[k-1].Layer {
			fmt.Fprintf(&b, " %s at %.1f", x.Layer, (x.At-s.first().At)/1000)
		}
	}
	return b.String()
}

func (s *stretch) String() string {
	a, b := s.first(), s.last()
	return fmt.Sprintf("%d lines, layers%s, %.1f fps, longest gap %.0f ms, %d freezes of %.2f s, %d of %d frames dropped, %.0f kbit/s, "+
		"%d packets lost, %d NACKs, %d RTX, %d PLIs; the camera sends %.0f/%.0f/%.0f kbit/s",
		b.Height, s.trail(), s.fps(), s.gap(), b.Freezes-a.Freezes, b.Frozen-a.Frozen, b.Dropped-a.Dropped, b.Received-a.Received,
		float64(b.Bytes-a.Bytes)*8/(b.At-a.At), b.Lost-a.Lost, b.NACKs-a.NACKs, b.RTX-a.RTX, b.PLIs-a.PLIs,
		s.Sent["l"]/1000, s.Sent["m"]/1000, s.Sent["h"]/1000)
}

// TestBrowserBandwidth has Chromium watch over 400 kbit/s: it gets a layer that goes through, and the best one when there
// is room for it.
func TestBrowserBandwidth(t *testing.T) {
	i := startImpaired(t, false)
	i.watch("clean", "rate=400k delay=20ms")
	var got stretch
	eventually(t, patience, func() string { // a busy camera and viewer take longer to learn it
		got = i.measure(6)
		if h := got.last().Height; h == got.Top || h == 0 {
			return fmt.Sprintf("%d lines come over 400 kbit/s: %v", h, &got)
		}
		return ""
	})
	t.Logf("400 kbit/s: %v", &got)
	i.set("clean", "clean")
	eventually(t, patience, func() string {
		if got = i.measure(1); got.last().Height != got.Top {
			return fmt.Sprintf("no top layer after relief: %v", &got)
		}
		return ""
	})
}
