package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"runtime/pprof"
	"strings"
	"testing"
)

const adminPassword = "correct horse battery"

func adminSettings(settings ...string) []string {
	return append(settings, "--admin-username=root", "--admin-password="+adminPassword)
}

// administer sends a request as the administrator's page does.
func administer(t *testing.T, base, method, path string, want int, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("root", adminPassword)
	req.Header.Set("Origin", base)
	req.Header.Set("X-Securecam-Admin", "1")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want {
		t.Fatalf("%s %s: %s %s %v, want %d", method, path, res.Status, body, err, want)
	}
	checkContract(t, base, res, body)
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
}

// TestAdmin has the operator look at a live stream, end it, browse and delete
// its recording, and shut its user out.
func TestAdmin(t *testing.T) {
	t.Parallel()
	app := startApp(t, adminSettings()...)
	base := app.url
	user := signUp(t, base, "watched@example.org")
	camera, info := user.register("camera")
	client, clientInfo := user.register("client")
	socket, clientSocket := camera.connect(), client.connect()
	stream := startStream(t, camera, socket, client, info.Device.ID)
	publisher := publish(t, camera, stream)
	t.Cleanup(func() { _ = publisher.Vanish() })
	awaitGrowth(t, play(t, client, stream))

	var live struct {
		MediaSessions, Streams []struct{ ID, UserID, UserEmail, CameraDeviceID, CameraName, RequesterName string }
	}
	administer(t, base, "GET", "/admin/api/live", 200, &live)
	if len(live.Streams) != 1 || live.Streams[0].ID != stream || len(live.MediaSessions) != 1 ||
		live.MediaSessions[0].CameraDeviceID != info.Device.ID || live.MediaSessions[0].CameraName != "camera" ||
		live.Streams[0].RequesterName != "client" || live.Streams[0].UserEmail != "watched@example.org" {
		t.Fatalf("live is %+v", live)
	}
	administer(t, base, "POST", "/admin/api/streams/"+stream+"/end", 204, nil)
	if s := client.stream(stream); s.Status != "completed" || s.Reason != "ended_by_admin" {
		t.Errorf("the stream is %+v", s)
	}
	administer(t, base, "POST", "/admin/api/streams/"+stream+"/end", 404, nil)
	recording := awaitRecording(t, user)

	var folder struct{ Items []struct{ Name string } }
	administer(t, base, "GET", "/admin/api/objects?folder=recordings/"+info.Device.ID, 200, &folder)
	if len(folder.Items) != 1 || !strings.HasPrefix(folder.Items[0].Name, recording.ID) {
		t.Fatalf("the folder holds %+v", folder)
	}
	key := "recordings/" + info.Device.ID + "/" + folder.Items[0].Name
	administer(t, base, "GET", "/admin/objects/"+key, 200, nil)
	administer(t, base, "DELETE", "/admin/api/objects?key="+url.QueryEscape(key), 204, nil)
	administer(t, base, "DELETE", "/admin/api/objects?key="+url.QueryEscape(key), 404, nil)
	administer(t, base, "GET", "/admin/api/objects?folder=..", 400, nil)
	administer(t, base, "GET", "/admin/objects/../secrets.env", 400, nil)

	_, seen := user.raw("GET", "/audit?action=recording.", nil)
	for _, action := range []string{`"action":"recording.download"`, `"action":"recording.delete_file"`} {
		if !strings.Contains(string(seen), action) || !strings.Contains(string(seen), recording.ID) {
			t.Errorf("the audit log has no %s: %s", action, seen)
		}
	}

	administer(t, base, "POST", "/admin/api/devices/"+clientInfo.Device.ID+"/revoke", 204, nil)
	<-clientSocket.done
	userID := live.Streams[0].UserID
	administer(t, base, "POST", "/admin/api/users/"+userID+"/disable", 204, nil)
	administer(t, base, "POST", "/admin/api/users/"+userID+"/disable", 409, nil)
	<-socket.done
	if status, _ := user.raw("GET", "/devices", nil); status != http.StatusUnauthorized {
		t.Errorf("a disabled user's session: %d", status)
	}
	status, body := user.raw("POST", "/api/auth/sign-in/email", map[string]string{
		"email": "watched@example.org", "password": "correct horse battery",
	})
	if status != http.StatusForbidden || !strings.Contains(string(body), "account_disabled") {
		t.Errorf("a disabled user signs in: %d %s", status, body)
	}
	administer(t, base, "POST", "/admin/api/users/"+userID+"/enable", 204, nil)
	user.must(http.StatusOK, "POST", "/api/auth/sign-in/email", map[string]string{
		"email": "watched@example.org", "password": "correct horse battery",
	}, nil)
	var link struct{ URL string }
	administer(t, base, "POST", "/admin/api/users/"+userID+"/reset-link", 200, &link)
	if status, body := user.raw("GET", strings.TrimPrefix(link.URL, base), nil); status != http.StatusOK {
		t.Errorf("the reset link leads to %d %s", status, body) // the page that asks for the password
	}
	// Its owner sees what the operator did.
	_, log := user.raw("GET", "/audit?action=user.", nil)
	if !strings.Contains(string(log), `"action":"user.disable"`) || !strings.Contains(string(log), `"admin":"root"`) {
		t.Errorf("the audit log is %s", log)
	}
}

// TestProfilesSayWhatIsWrong has the runtime refuse profiles, in its own words,
// which the description of the API must name.
func TestProfilesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	app := startApp(t, adminSettings()...)
	if pprof.StartCPUProfile(io.Discard) == nil { // or somebody profiles the test
		defer pprof.StopCPUProfile()
	}
	for path, want := range map[string]int{
		"profile?seconds=1":      http.StatusInternalServerError, // it is taken already
		"heap?seconds=x":         http.StatusBadRequest,
		"heap?seconds=1&debug=1": http.StatusBadRequest,
		"heap?debug=1":           http.StatusOK,
		"heap":                   http.StatusOK,
		"nothing":                http.StatusNotFound,
	} {
		administer(t, app.url, "GET", "/admin/pprof/"+path, want, nil)
	}
}

// TestAdminIsNotThereUnlessSet holds that nobody gets in without the settings.
func TestAdminIsNotThereUnlessSet(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	user := newBrowser(t, app.url)
	for _, path := range []string{"/admin", "/admin/api/overview", "/admin/api/users", "/admin/pprof/", "/admin/objects/x"} {
		if status, body := user.raw("GET", path, nil); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
