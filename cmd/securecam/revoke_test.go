package main

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/pion/logging"
	pionturn "github.com/pion/turn/v5"

	"github.com/securecam/securecam/bench/peer"
	"github.com/securecam/securecam/store/storetest"
)

// startCluster starts two processes' worth of the product on one PostgreSQL
// database and one NATS server.
func startCluster(t *testing.T, settings ...string) (one, two *app) {
	t.Helper()
	nats, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	})
	if !nats.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	shared := append([]string{
		"--database-url=" + storetest.PostgresURL(t), "--nats-url=" + nats.ClientURL(),
		"--better-auth-secret=" + strings.Repeat("shared", 8),
	}, settings...)
	objects := minioSettings(t)
	shared = append(shared, objects...)
	return startApp(t, shared...), startApp(t, shared...)
}

// at returns the same caller at another process.
func (c *apiClient) at(a *app) *apiClient {
	other := *c
	other.base = a.url
	return &other
}

// holdings is what a client device and its user's browser have open.
type holdings struct {
	user           *apiClient
	camera, client registered
	link, userID   string
	byDevice       string // signed URLs of a recording
	bySession      string
	viewer         *peer.Viewer
	socket         *socket
	relay          *pionturn.Client
	survivor       *peer.Viewer // of another client
}

// hold opens one of each: media and relay at one process, the rest at the other.
func hold(t *testing.T, one, two *app) holdings {
	t.Helper()
	var h holdings
	h.user = signUp(t, two.url, uuid.NewString()+"@example.org")
	camera, cameraInfo := h.user.register("camera")
	client, clientInfo := h.user.register("client")
	other, _ := h.user.register("client")
	h.camera, h.client, h.link = cameraInfo, clientInfo, clientInfo.Links[0].ID
	var me struct{ User struct{ ID string } }
	h.user.must(http.StatusOK, "GET", "/api/auth/get-session", nil, &me)
	h.userID = me.User.ID
	atOne := camera.at(one)
	cameraSocket := atOne.connect()
	h.socket = client.connect()

	stream := startStream(t, atOne, cameraSocket, client.at(one), cameraInfo.Device.ID)
	publisher := publish(t, atOne, stream)
	t.Cleanup(func() { _ = publisher.Vanish() })
	awaitRecordingBegun(t, h.user)
	h.viewer = play(t, client.at(one), stream)
	var joined streamJSON
	other.at(one).must(http.StatusCreated, "POST", "/streams/request", map[string]string{"cameraDeviceId": cameraInfo.Device.ID}, &joined)
	h.survivor = play(t, other.at(one), joined.ID)
	awaitGrowth(t, h.viewer)
	h.relay = allocateRelay(t, client.at(one), stream)

	// The recording goes on; turning the policy off completes it.
	h.user.must(http.StatusOK, "PATCH", "/devices/"+cameraInfo.Device.ID, map[string]string{"recordingPolicy": "off"}, nil)
	recording := awaitRecording(t, h.user)
	h.byDevice = signedURL(t, client, recording.ID)
	h.bySession = signedURL(t, h.user, recording.ID)
	for _, url := range []string{h.byDevice, h.bySession} {
		fetch(t, h.user, url, "bytes=0-9")
	}
	return h
}

func signedURL(t *testing.T, c *apiClient, recording string) string {
	t.Helper()
	var d struct {
		URL string `json:"url"`
	}
	c.must(http.StatusOK, "GET", "/recordings/"+recording+"/download-url", nil, &d)
	return d.URL
}

// allocateRelay opens a TURN allocation with the credentials of a stream.
func allocateRelay(t *testing.T, client *apiClient, stream string) *pionturn.Client {
	t.Helper()
	var c struct {
		ICEServers []struct {
			URLs                 []string
			Username, Credential string
		} `json:"iceServers"`
	}
	client.must(http.StatusOK, "GET", "/streams/"+stream+"/subscribe-credentials", nil, &c)
	relay := c.ICEServers[len(c.ICEServers)-1]
	address := strings.TrimSuffix(strings.TrimPrefix(relay.URLs[0], "turn:"), "?transport=udp")
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	tc, err := pionturn.NewClient(&pionturn.ClientConfig{
		STUNServerAddr: address, TURNServerAddr: address, Conn: conn,
		Username: relay.Username, Password: relay.Credential, LoggerFactory: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tc.Close()
		_ = conn.Close()
	})
	if err := tc.Listen(); err != nil {
		t.Fatal(err)
	}
	allocation, err := tc.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = allocation.Close() })
	if !relays(tc) {
		t.Fatal("the relay does not take a permission")
	}
	return tc
}

// relays tells whether the allocation still lives: it takes permissions for
// itself. The media port of the test is on loopback, as everything.
func relays(tc *pionturn.Client) bool {
	return tc.CreatePermission(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}) == nil
}

// left says what of the holdings is still open.
func (h holdings) left(t *testing.T) map[string]bool {
	t.Helper()
	left := map[string]bool{
		"viewer": !h.viewer.Ended(), "survivor": !h.survivor.Ended(), "relay": relays(h.relay),
		"device URL": status(t, h.user, h.byDevice) == http.StatusOK, "session URL": status(t, h.user, h.bySession) == http.StatusOK,
	}
	select {
	case <-h.socket.done:
	default:
		left["socket"] = true
	}
	for what, open := range left {
		if !open {
			delete(left, what)
		}
	}
	return left
}

func status(t *testing.T, c *apiClient, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

// TestRevocation revokes at one process what is held at both. How long that
// takes is the machine's affair, but it must not have to wait for anybody's next
// look: each process hears of each revocation by the bus.
func TestRevocation(t *testing.T) {
	t.Parallel()
	one, two := startCluster(t, adminSettings()...)
	t.Run("of", func(t *testing.T) { revokeEach(t, one, two) })
	for _, a := range []*app{one, two} {
		_, numbers := newBrowser(t, a.url).raw(http.MethodGet, "/ops/metrics", nil)
		if !strings.Contains(string(numbers), "\nsecurecam_revocations_late_total 0\n") {
			t.Errorf("the bus did not tell of every revocation:\n%s", numbers)
		}
	}
}

func revokeEach(t *testing.T, one, two *app) {
	t.Helper()
	for _, kind := range []struct {
		name   string
		revoke func(h holdings)
		left   string
	}{
		{"device deleted", func(h holdings) {
			h.user.must(http.StatusNoContent, "DELETE", "/devices/"+h.client.Device.ID, nil, nil)
		}, "session URL, survivor"},
		{"token rotated", func(h holdings) {
			h.user.must(http.StatusOK, "POST", "/devices/"+h.client.Device.ID+"/token", nil, nil)
		}, "session URL, survivor"},
		{"link revoked", func(h holdings) {
			h.user.must(http.StatusNoContent, "DELETE", "/device-links/"+h.link, nil, nil)
		}, "session URL, socket, survivor"},
		{"camera deleted", func(h holdings) {
			h.user.must(http.StatusNoContent, "DELETE", "/devices/"+h.camera.Device.ID, nil, nil)
		}, "relay, session URL, socket"},
		{"signed out everywhere", func(h holdings) {
			h.user.must(http.StatusOK, "POST", "/api/auth/revoke-sessions", map[string]string{}, nil)
		}, ""},
		{"user disabled", func(h holdings) {
			administer(t, two.url, "POST", "/admin/api/users/"+h.userID+"/disable", http.StatusNoContent, nil)
		}, ""},
		{"user deleted", func(h holdings) {
			administer(t, two.url, "DELETE", "/admin/api/users/"+h.userID, http.StatusNoContent, nil)
		}, ""},
		{"signed out", func(h holdings) {
			h.user.must(http.StatusOK, "POST", "/api/auth/sign-out", nil, nil)
		}, "device URL, relay, socket, survivor, viewer"},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := hold(t, one, two)
			if got := names(h.left(t)); got != "device URL, relay, session URL, socket, survivor, viewer" {
				t.Fatalf("before anything was revoked, there is only %s", got)
			}
			kind.revoke(h)
			began := time.Now()
			eventually(t, patience, func() string {
				if got := names(h.left(t)); got != kind.left {
					return "left is " + got + "; want " + kind.left
				}
				return ""
			})
			t.Logf("ended within %v", time.Since(began).Round(time.Millisecond))
		})
	}
}

// names lists the keys of a set.
func names(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}
