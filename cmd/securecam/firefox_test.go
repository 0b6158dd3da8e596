package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"github.com/securecam/securecam/bench/peer"
	"github.com/securecam/securecam/control/diagnosis"
)

// ownAddress is an address of this machine that is not loopback. Firefox gathers no loopback address, whatever its
// setting media.peerconnection.ice.loopback says, and tries none from an address that is not one.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
			return prefix.Addr()
		}
	}
	t.Fatalf("of this machine's addresses %v none is of use to Firefox", all)
	return netip.Addr{}
}

// joinInFirefox is join from Firefox; from now on the viewers' network is another one.
func (s *scene) joinInFirefox() (stream string) {
	s.t.Helper()
	s.viewerNet, s.viewerBase = networkAt(s.t, s.app.url, ownAddress(s.t))
	stream, _ = s.joinFrom("firefox")
	return stream
}

// TestFirefoxOverTCP has Firefox watch where no UDP leaves it, which the server is not told, and restart ICE there.
func TestFirefoxOverTCP(t *testing.T) {
	// TURN would be a way too.
	app := startForBrowsers(t, "--listen-host="+ownAddress(t).String(), "--turn-port=-1")
	user := signUp(t, app.url, "firewall@example.org")
	camera, info := user.register("camera")
	var live liveJSON
	camera.must(http.StatusCreated, "POST", "/media-sessions", nil, &live)
	published, err := peer.Publish(t.Context(), live.Credentials.endpoint(), testMedia(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = published.Vanish() })
	client, _ := user.register("client")
	stream, credentials := request[json.RawMessage](client, info.Device.ID)

	script := startBrowsers(t, "firewall.mjs", app.url)
	for _, step := range []string{"watch", "restart"} {
		var got struct {
			Protocol string `json:"protocol"`
			Decoded  int    `json:"decoded"`
		}
		script.ask(step, map[string]any{"credentials": credentials}, &got)
		session, _ := watching(user, stream)
		t.Logf("%s: %d pictures over %s", step, got.Decoded, got.Protocol)
		at := slices.IndexFunc(session.Pairs, func(p diagnosis.Pair) bool { return p.Selected })
		if got.Protocol != "tcp" || at < 0 || session.Pairs[at].Protocol != "tcp" {
			t.Errorf("%s: Firefox is connected over %s, the server's pairs are %+v", step, got.Protocol, session.Pairs)
		}
	}
}

// TestStandingPicture has a browser show the first frame alone: the page says that it is not let play, not that it is live.
func TestStandingPicture(t *testing.T) {
	t.Parallel()
	script(t, "standing.mjs")
}

// watching is what the server says of a viewer who is connected, and of the video that he gets.
func watching(user *apiClient, stream string) (diagnosis.Session, diagnosis.Track) {
	user.t.Helper()
	var got struct {
		Media diagnosis.MediaFacts `json:"media"`
	}
	user.must(http.StatusOK, "GET", "/streams/"+stream+"/statistics", nil, &got)
	for _, session := range got.Media.Sessions {
		for _, track := range session.Tracks {
			if session.StreamID == stream && session.EndedAt.IsZero() && track.Kind == "video" {
				return session, track
			}
		}
	}
	user.t.Fatalf("the server knows of no viewer of stream %s: %+v", stream, got.Media.Sessions)
	return diagnosis.Session{}, diagnosis.Track{}
}
