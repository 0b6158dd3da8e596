package main

import (
	"net"
	"net/http"
	"net/netip"
	"testing"

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

// session is what the server says of a viewer who is connected, and of the video that he gets.
func (s *scene) session(stream string) (diagnosis.Session, diagnosis.Track) {
	s.t.Helper()
	var got struct {
		Media diagnosis.MediaFacts `json:"media"`
	}
	s.user.must(http.StatusOK, "GET", "/streams/"+stream+"/statistics", nil, &got)
	for _, session := range got.Media.Sessions {
		for _, track := range session.Tracks {
			if session.StreamID == stream && session.EndedAt.IsZero() && track.Kind == "video" {
				return session, track
			}
		}
	}
	s.t.Fatalf("the server knows of no viewer of stream %s: %+v", stream, got.Media.Sessions)
	return diagnosis.Session{}, diagnosis.Track{}
}
