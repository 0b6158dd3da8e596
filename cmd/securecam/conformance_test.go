package main

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/securecam/securecam/bench/conformance"
)

// TestConformance holds the product to every check of the conformance runner: none may fail, and only those may not
// apply that are listed.
func TestConformance(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--publisher-timeout-seconds=3600", "--viewer-timeout-seconds=3600", "--max-viewers=6", "--max-media-sessions=1")
	user := signUp(t, app.url, "conformance@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	var stream streamJSON
	client.must(http.StatusCreated, "POST", "/streams/request", map[string]string{"cameraDeviceId": info.Device.ID}, &stream)
	camera.must(http.StatusOK, "POST", "/streams/"+stream.ID+"/accept", nil, &stream)
	var whip, whep credentialsJSON
	camera.must(http.StatusOK, "GET", "/streams/"+stream.ID+"/publish-credentials", nil, &whip)
	client.must(http.StatusOK, "GET", "/streams/"+stream.ID+"/subscribe-credentials", nil, &whep)

	another, _ := user.register("camera") // for which there is no room while the first one publishes
	var session struct {
		Credentials credentialsJSON `json:"credentials"`
	}
	another.must(http.StatusCreated, "POST", "/media-sessions", nil, &session)
	busy := session.Credentials

	began := time.Now()
	results, err := conformance.Run(t.Context(), conformance.Target{
		WHIP: whip.URL, WHEP: whep.URL, Token: whip.Token, PlayToken: whep.Token,
		Load: conformance.Load{Burst: 400, Sessions: 16, BusyWHIP: busy.URL, BusyToken: busy.Token},
	}, func(r conformance.Result) {
		switch r.Outcome {
		case conformance.Failed:
			t.Errorf("%s (%s, %s): %s", r.ID, r.Section, r.Title, r.Detail)
		case conformance.Skipped:
			if !slices.Contains([]string{"whip-answer-msid", "whep-post-accept", "whip-https", "whep-https"}, r.ID) {
				t.Errorf("%s does not apply: %s", r.ID, r.Detail)
			}
		case conformance.Passed:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) < 150 {
		t.Errorf("%d checks", len(results))
	}
	t.Logf("%d checks in %v", len(results), time.Since(began))
}
