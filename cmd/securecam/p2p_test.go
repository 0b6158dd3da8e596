package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/bench/api"
)

// description is the signal that the two peers of the test understand.
type description struct {
	StreamSessionID string                    `json:"streamSessionId"`
	FromDeviceID    string                    `json:"fromDeviceId,omitempty"`
	Signal          webrtc.SessionDescription `json:"signal"`
}

// TestPeerToPeer has a camera and a client connect to each other, by signals
// over the gateway alone.
func TestPeerToPeer(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--media-mode=p2p")
	user := signUp(t, app.url, uuid.NewString()+"@example.org")
	camera, cameraInfo := user.register("camera")
	client, clientInfo := user.register("client")
	cameraSocket, clientSocket := camera.connect(), client.connect()
	stream := startStream(t, camera, cameraSocket, client, cameraInfo.Device.ID)
	for path, caller := range map[string]*apiClient{"publish": camera, "subscribe": client} {
		var c struct {
			Protocol     string
			URL          string
			ICEServers   []webrtc.ICEServer
			Participants struct{ CameraDeviceID, RequesterDeviceID string }
		}
		caller.must(http.StatusOK, "GET", "/streams/"+stream+"/"+path+"-credentials", nil, &c)
		if c.Protocol != "p2p" || c.URL != "" || len(c.ICEServers) == 0 ||
			c.Participants.CameraDeviceID != cameraInfo.Device.ID || c.Participants.RequesterDeviceID != clientInfo.Device.ID {
			t.Fatalf("%s credentials %+v", path, c)
		}
	}
	camera.must(http.StatusConflict, "POST", "/media-sessions", nil, nil)

	viewer, source := newPeer(t), newPeer(t)
	channel, err := viewer.CreateDataChannel("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	channel.OnOpen(func() { close(opened) })
	offer, err := viewer.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	clientSocket.send("webrtc:signal", "o", description{StreamSessionID: stream, Signal: complete(t, viewer, offer)})
	var asked description
	decode(t, cameraSocket.await("webrtc:signal"), &asked)
	if asked.FromDeviceID != clientInfo.Device.ID || asked.StreamSessionID != stream {
		t.Errorf("the camera heard from %s in %s", asked.FromDeviceID, asked.StreamSessionID)
	}
	if err := source.SetRemoteDescription(asked.Signal); err != nil {
		t.Fatal(err)
	}
	answer, err := source.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	cameraSocket.send("webrtc:signal", "a", description{StreamSessionID: stream, Signal: complete(t, source, answer)})
	var answered description
	decode(t, clientSocket.await("webrtc:signal"), &answered)
	if err := viewer.SetRemoteDescription(answered.Signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-opened:
	case <-time.After(30 * time.Second):
		t.Fatal("the peers do not reach each other")
	}

	// The end is heard by both, and signals end with it.
	client.must(http.StatusOK, "POST", "/streams/"+stream+"/end", map[string]string{}, nil)
	cameraSocket.await("stream:ended")
	cameraSocket.send("webrtc:signal", "late", description{StreamSessionID: stream})
	var p struct{ Code string }
	if err := json.Unmarshal(cameraSocket.await("error"), &p); err != nil || p.Code != "stream_ended" {
		t.Errorf("a signal after the end: %+v, %v", p, err)
	}
}

func newPeer(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	return pc
}

// complete returns the description with all of its candidates.
func complete(t *testing.T, pc *webrtc.PeerConnection, d webrtc.SessionDescription) webrtc.SessionDescription {
	t.Helper()
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return *pc.LocalDescription()
}

// TestBenchAPI holds that what measures the API still understands it.
func TestBenchAPI(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	result, err := api.Run(t.Context(), api.Config{URL: app.url, Duration: 100 * time.Millisecond, Workers: 2, Connections: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range result.Steps {
		if s.Count == 0 || s.Median <= 0 {
			t.Errorf("measured %+v", s)
		}
	}
	if len(result.Steps) != 4 || result.Idle.Connections != 10 {
		t.Errorf("measured %s", result.Text())
	}
}
