package streams

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// api is the service behind its routes, and a token of each device.
type api struct {
	*world
	app    *fiber.App
	tokens map[string]string
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{world: newWorld(t), tokens: map[string]string{}}
	service := must[*auth.Service](t)(auth.New(auth.Config{Store: a.db, Secret: []byte("a secret of the tests")}))
	a.app = fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true})
	h := rest.New(a.app, rest.Config{})
	h.UseMiddleware(auth.Middleware(h, service))
	a.Mount(a.app, h)
	for _, d := range must[[]store.Device](t)(a.db.Devices(t.Context(), a.user.ID, store.DeviceFilter{}, store.Page{Limit: 10})) {
		token, _, err := service.IssueDeviceToken(d)
		if err != nil {
			t.Fatal(err)
		}
		a.tokens[d.ID] = token
	}
	return a
}

// do sends a request as a device and returns the status and the body.
func (a *api) do(t *testing.T, p auth.Principal, method, path, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if token := a.tokens[p.DeviceID]; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp := must[*http.Response](t)(a.app.Test(req, -1))
	defer resp.Body.Close() //nolint:errcheck // read to its end
	return resp.StatusCode, string(must[[]byte](t)(io.ReadAll(resp.Body)))
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	ask := `{"cameraDeviceId":"` + a.camera.DeviceID + `","reason":"doorbell"}`
	status, body := a.do(t, a.client, http.MethodPost, "/streams/request", ask)
	var s Stream
	if err := json.Unmarshal([]byte(body), &s); err != nil || status != http.StatusCreated {
		t.Fatalf("request: %d %s %v", status, body, err)
	}
	if strings.Contains(body, "startedAt") || strings.Contains(body, "mediaSessionId") {
		t.Errorf("a requested stream says %s, want no empty members", body)
	}
	nobody := auth.Principal{}
	long := `{"cameraDeviceId":"x","reason":"` + strings.Repeat("r", 201) + `"}`
	for _, tt := range []struct {
		name         string
		by           auth.Principal
		method, path string
		body         string
		status       int
		want         string
	}{
		{"nobody asks", nobody, "POST", "/streams/request", ask, 401, `"unauthenticated"`},
		{"a camera asks", a.camera, "POST", "/streams/request", ask, 403, `"forbidden"`},
		{"twice", a.client, "POST", "/streams/request", ask, 409, `"stream_already_open"`},
		{"no camera named", a.client, "POST", "/streams/request", `{}`, 422, `"validation_failed"`},
		{"unknown member", a.client, "POST", "/streams/request", `{"cameraDeviceId":"x","y":1}`, 422, `"validation_failed"`},
		{"no JSON", a.client, "POST", "/streams/request", `{`, 400, `"malformed_body"`},
		{"long reason", a.client, "POST", "/streams/request", long, 422, "reason"},
		{"get", a.camera, "GET", "/streams/" + s.ID, "", 200, `"status":"requested"`},
		{"get as a bystander", a.second, "GET", "/streams/" + s.ID, "", 404, `"not_found"`},
		{"get nothing", a.camera, "GET", "/streams/" + storetest.ID(), "", 404, `"not_found"`},
		{"list", a.camera, "GET", "/streams", "", 200, s.ID},
		{"list of a bystander", a.second, "GET", "/streams", "", 200, `"items":[]`},
		{"list with a bad cursor", a.camera, "GET", "/streams?cursor=x", "", 422, `"invalid_cursor"`},
		{"list of one's own by status", a.client, "GET", "/streams?status=requested&cameraDeviceId=" + a.camera.DeviceID, "", 200, s.ID},
		{"list by another status", a.client, "GET", "/streams?status=streaming", "", 200, `"items":[]`},
		{"list by camera", a.client, "GET", "/streams?cameraDeviceId=x", "", 200, `"items":[]`},
		{"list by requester", a.camera, "GET", "/streams?requesterDeviceId=" + a.client.DeviceID, "", 200, s.ID},
		{"list by another requester", a.camera, "GET", "/streams?requesterDeviceId=" + a.second.DeviceID, "", 200, `"items":[]`},
		{"list since", a.camera, "GET", "/streams?since=2100-01-01T00:00:00Z", "", 200, `"items":[]`},
		{"list until", a.camera, "GET", "/streams?until=2100-01-01T00:00:00Z", "", 200, s.ID},
		{"list by no status", a.camera, "GET", "/streams?status=half", "", 422, `"validation_failed"`},
		{"accept as requester", a.client, "POST", "/streams/" + s.ID + "/accept", "", 403, `"forbidden"`},
		{"accept", a.camera, "POST", "/streams/" + s.ID + "/accept", "", 200, `"status":"streaming"`},
		{"accept again", a.camera, "POST", "/streams/" + s.ID + "/accept", "", 409, `"stream_not_requested"`},
		{"join", a.second, "POST", "/streams/request", ask, 201, `"status":"streaming"`},
		{"first page", a.camera, "GET", "/streams?limit=1", "", 200, `"nextCursor":"`},
		{"end for a reason of the server", a.client, "POST", "/streams/" + s.ID + "/end", `{"reason":"link_revoked"}`, 422, "reason"},
		{"end with a reason", a.client, "POST", "/streams/" + s.ID + "/end", `{"reason":"low_battery"}`, 200, `"reason":"low_battery"`},
		{"end again", a.client, "POST", "/streams/" + s.ID + "/end", "", 409, `"stream_ended"`},
	} {
		status, body := a.do(t, tt.by, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %d with %s", tt.name, status, body, tt.status, tt.want)
		}
	}
}

// TestEventsAndAnswersAreOneShape compares what the gateway sends with what
// the API answers.
func TestEventsAndAnswersAreOneShape(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	s := a.streaming(t, a.client)
	event := must[[]byte](t)(json.Marshal(toStream(s)))
	_, answer := a.do(t, a.client, http.MethodGet, "/streams/"+s.ID, "")
	if !bytes.Equal(bytes.TrimSpace([]byte(answer)), event) {
		t.Errorf("the event says %s, the answer %s", event, answer)
	}
}
