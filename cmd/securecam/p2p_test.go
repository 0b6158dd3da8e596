package main

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/bench/api"
)

// description is the signal that the two peers of the test understand.
type description struct {
	StreamSessionID string                    `json:"streamSessionId"`
	FromDeviceID    string                    `json:"fromDeviceId,omitempty"`
	Signal          webrtc.SessionDescription `json:"signal"`
}

// p2pStream is a stream from peer to peer that has been accepted.
type p2pStream struct {
	id                           string
	camera, client               *apiClient
	cameraInfo, clientInfo       registered
	cameraSocket, clientSocket   *socket
	cameraServers, clientServers []webrtc.ICEServer // what the two were told
}

func startPeerToPeer(t *testing.T, app *app) *p2pStream {
	t.Helper()
	user := signUp(t, app.url, uuid.NewString()+"@example.org")
	s := &p2pStream{}
	s.camera, s.cameraInfo = user.register("camera")
	s.client, s.clientInfo = user.register("client")
	s.cameraSocket, s.clientSocket = s.camera.connect(), s.client.connect()
	s.id = startStream(t, s.camera, s.cameraSocket, s.client, s.cameraInfo.Device.ID)
	s.cameraServers, s.clientServers = s.credentials(t, s.camera, "publish"), s.credentials(t, s.client, "subscribe")
	return s
}

// credentials returns what a device is told of ICE servers.
func (s *p2pStream) credentials(t *testing.T, caller *apiClient, which string) []webrtc.ICEServer {
	t.Helper()
	var c struct {
		Protocol     string
		URL          string
		ICEServers   []webrtc.ICEServer
		Participants struct{ CameraDeviceID, RequesterDeviceID string }
	}
	caller.must(http.StatusOK, "GET", "/streams/"+s.id+"/"+which+"-credentials", nil, &c)
	if c.Protocol != "p2p" || c.URL != "" || len(c.ICEServers) == 0 ||
		c.Participants.CameraDeviceID != s.cameraInfo.Device.ID || c.Participants.RequesterDeviceID != s.clientInfo.Device.ID {
		t.Fatalf("%s credentials %+v", which, c)
	}
	return c.ICEServers
}

// meet has the two connect by signals over the gateway alone, and a text go
// from the viewer to the camera and back.
func (s *p2pStream) meet(t *testing.T, viewer, source *webrtc.PeerConnection) {
	t.Helper()
	source.OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(m webrtc.DataChannelMessage) {
			if err := d.SendText(string(m.Data) + ", too"); err != nil {
				t.Error(err)
			}
		})
	})
	channel, err := viewer.CreateDataChannel("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	channel.OnOpen(func() {
		if err := channel.SendText("me"); err != nil {
			t.Error(err)
		}
	})
	channel.OnMessage(func(m webrtc.DataChannelMessage) { answered <- string(m.Data) })
	offer, err := viewer.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.clientSocket.send("webrtc:signal", "o", description{StreamSessionID: s.id, Signal: complete(t, viewer, offer)})
	var asked, told description
	decode(t, s.cameraSocket.await("webrtc:signal"), &asked)
	if asked.FromDeviceID != s.clientInfo.Device.ID || asked.StreamSessionID != s.id {
		t.Errorf("the camera heard from %s in %s", asked.FromDeviceID, asked.StreamSessionID)
	}
	if err := source.SetRemoteDescription(asked.Signal); err != nil {
		t.Fatal(err)
	}
	answer, err := source.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.cameraSocket.send("webrtc:signal", "a", description{StreamSessionID: s.id, Signal: complete(t, source, answer)})
	decode(t, s.clientSocket.await("webrtc:signal"), &told)
	if err := viewer.SetRemoteDescription(told.Signal); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-answered:
		if got != "me, too" {
			t.Errorf("heard %q", got)
		}
	case <-time.After(patience):
		t.Fatal("the peers do not reach each other")
	}
}

// TestPeerToPeer has a camera and a client connect to each other.
func TestPeerToPeer(t *testing.T) {
	t.Parallel()
	s := startPeerToPeer(t, startApp(t, "--media-mode=p2p"))
	s.camera.must(http.StatusConflict, "POST", "/media-sessions", nil, nil)
	s.meet(t, newPeer(t, webrtc.Configuration{}), newPeer(t, webrtc.Configuration{}))

	// The end is heard by both, and signals end with it.
	s.client.must(http.StatusOK, "POST", "/streams/"+s.id+"/end", map[string]string{}, nil)
	s.cameraSocket.await("stream:ended")
	s.cameraSocket.send("webrtc:signal", "late", description{StreamSessionID: s.id})
	var p struct{ Code string }
	if err := json.Unmarshal(s.cameraSocket.await("error"), &p); err != nil || p.Code != "stream_ended" {
		t.Errorf("a signal after the end: %+v, %v", p, err)
	}
}

// TestPeerToPeerRelayed has the two reach each other by relays of ours alone,
// and tries what else those lead to: nothing of this machine or its network.
func TestPeerToPeerRelayed(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--media-mode=p2p", "--public-ips=198.51.100.7")
	s := startPeerToPeer(t, app)
	relayed := func(servers []webrtc.ICEServer) *webrtc.PeerConnection {
		return newPeer(t, webrtc.Configuration{ICEServers: servers, ICETransportPolicy: webrtc.ICETransportPolicyRelay})
	}
	viewer := relayed(s.clientServers)
	s.meet(t, viewer, relayed(s.cameraServers))
	pair, err := viewer.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || pair.Local.Typ != webrtc.ICECandidateTypeRelay || pair.Remote.Typ != webrtc.ICECandidateTypeRelay ||
		pair.Remote.Address != "198.51.100.7" {
		t.Errorf("they are connected by %v, %v", pair, err)
	}

	holdPermissions(t, relayClient(t, s.clientServers), "198.51.100.7") // relays
}

// TestPeerToPeerRelayedBeyond has relays lead where the operator says.
func TestPeerToPeerRelayedBeyond(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ setting, allowed string }{
		"networks": {"--turn-peer-networks=10.0.0.0/30,9.9.9.9", "10.0.0.1 9.9.9.9"},
		"public":   {"--turn-public-peers", "8.8.8.8 9.9.9.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startPeerToPeer(t, startApp(t, "--media-mode=p2p", "--public-ips=198.51.100.7", c.setting))
			holdPermissions(t, relayClient(t, s.clientServers), append(strings.Fields(c.allowed), "198.51.100.7")...)
		})
	}
}

// TestPeerToPeerRelayedToItself has relays not lead to the address at which a
// STUN server sees this machine, public as it is.
func TestPeerToPeerRelayedToItself(t *testing.T) {
	t.Parallel()
	server := stunServer(t, net.IPv4(9, 9, 9, 9))
	s := startPeerToPeer(t, startApp(t, "--media-mode=p2p", "--public-ips=198.51.100.7", "--turn-public-peers", "--stun-urls=stun:"+server))
	client := relayClient(t, s.clientServers)
	eventually(t, patience, func() string {
		if client.CreatePermission(&net.UDPAddr{IP: net.IPv4(9, 9, 9, 9), Port: 50000}) == nil {
			return "a relay leads to the machine that it is on"
		}
		return ""
	})
	holdPermissions(t, client, "198.51.100.7", "8.8.8.8")
}

// stunServer sees everybody at one address, and returns its own.
func stunServer(t *testing.T, ip net.IP) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for b := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: b[:n]}
			if m.Decode() != nil {
				continue
			}
			out := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
				&stun.XORMappedAddress{IP: ip, Port: 50001})
			if _, err := conn.WriteTo(out.Raw, from); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		done.Wait()
	})
	return conn.LocalAddr().String()
}

// holdPermissions tries what a relay leads to: these alone.
func holdPermissions(t *testing.T, client *turn.Client, allowed ...string) {
	t.Helper()
	for _, host := range []string{
		"198.51.100.7", "8.8.8.8", "9.9.9.9",
		"127.0.0.1", "10.0.0.1", "10.0.0.9", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
	} {
		err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(host), Port: 50000})
		if want := slices.Contains(allowed, host); (err == nil) != want {
			t.Errorf("a permission for %s: %v, is allowed: %v", host, err, want)
		}
	}
}

// relayClient allocates a relay with what a device was told.
func relayClient(t *testing.T, servers []webrtc.ICEServer) *turn.Client {
	t.Helper()
	for _, server := range servers {
		address, over, _ := strings.Cut(strings.TrimPrefix(server.URLs[0], "turn:"), "?")
		if over != "transport=udp" {
			continue
		}
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		password, _ := server.Credential.(string)
		client, err := turn.NewClient(&turn.ClientConfig{
			TURNServerAddr: address, Conn: conn, Username: server.Username, Password: password,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			client.Close()
			_ = conn.Close()
		})
		if err := client.Listen(); err != nil {
			t.Fatal(err)
		}
		relay, err := client.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = relay.Close() })
		return client
	}
	t.Fatalf("no TURN server among %+v", servers)
	return nil
}

func newPeer(t *testing.T, c webrtc.Configuration) *webrtc.PeerConnection {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(c)
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
