package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/securecam/securecam/control/gateway"
)

// What devices may do is a matter of their role. What only reads, and what is
// in neither list, both may; a device's own things are another matter.
var (
	camerasOnly = []string{
		"POST /commands/{}/ack",
		"POST /events/motion/end", "POST /events/motion/start", "POST /events/{}/end", "PUT /events/{}/thumbnail",
		"POST /media-sessions", "DELETE /media-sessions/{}",
		"POST /recordings/{}/await-upload", "POST /recordings/{}/finalize", "POST /recordings/{}/upload-url",
		"POST /streams/{}/accept", "GET /streams/{}/publish-credentials",
	}
	clientsOnly = []string{
		"POST /commands", "POST /commands/{}/cancel", "POST /commands/{}/retry", "DELETE /commands/{}",
		"POST /streams/request", "POST /streams/{}/statistics",
	}
	bothRoles = []string{
		"POST /devices/{}/heartbeat", "PUT /devices/{}/push-subscription", "DELETE /devices/{}/push-subscription",
		"POST /devices/{}/push-subscription/test", "DELETE /notifications/{}", "PATCH /notifications/{}", "POST /notifications/read",
		"DELETE /push-notifications/{}", "POST /push-notifications/dispatch", "POST /push-notifications/{}/retry",
		"POST /streams/{}/end", "POST /videos/upload-url", "POST /videos/{}/complete", "DELETE /videos/{}",
	}
	// camerasSee are those of camerasOnly on what clients do not even see. Clients
	// are answered 404, which proves nothing unless the camera is not.
	camerasSee = []string{"POST /commands/{}/ack"}
)

// roleBodies are what the operations take that name nothing in their path.
func (r resident) roleBodies() map[string]string {
	camera, client := r.ids["/devices/{}"], r.ids["client"]
	return map[string]string{
		"POST /commands":            `{"targetDeviceId":"` + camera + `","commandType":"zoom"}`,
		"POST /events/motion/start": `{}`,
		"POST /streams/request":     `{"cameraDeviceId":"` + camera + `"}`,
		"POST /device-links":        `{"cameraDeviceId":"` + camera + `","clientDeviceId":"` + client + `"}`,
	}
}

// TestWrongRoles has every operation called by those of its own user who may
// not: devices where a user is needed and the other way round, cameras where
// clients are and the other way round, and tokens of media anywhere else.
func TestWrongRoles(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w walk) {
		r := settle(t, w.app, w.db)
		var publish, subscribe credentialsJSON
		r.camera.must(http.StatusOK, "GET", "/streams/"+r.ids["/streams/{}"]+"/publish-credentials", nil, &publish)
		r.client.must(http.StatusOK, "GET", "/streams/"+r.ids["/streams/{}"]+"/subscribe-credentials", nil, &subscribe)
		media := map[string]*apiClient{"publishing": r.client.with(publish.Token), "watching": r.client.with(subscribe.Token)}
		w.operations(func(_, method, path string, op operationJSON) {
			if len(op.Security) == 0 || takesOnly(op, "admin") {
				return // see TestOpenRoutes, TestAdminRoutes
			}
			route := method + " " + shape(path)
			target, body := r.own(route), r.roleBodies()[route]
			if body == "" {
				body = validBodies[route]
			}
			refused := func(who string, c *apiClient, want int) {
				t.Helper()
				if route == "GET /realtime" {
					c.mustNotConnect(t, who)
					return
				}
				status, answer := c.send(method, target, bodyType(op), body)
				if status != want || codeOf(answer) == "" {
					t.Errorf("%s of %s: %d %s, want %d", route, who, status, answer, want)
				}
			}
			if !takes(op, "media") {
				for what, c := range media {
					refused("a token for "+what, c, http.StatusUnauthorized)
				}
			}
			if !takes(op, "session") {
				refused("a browser", r.user, http.StatusUnauthorized)
			}
			if !takes(op, "device") {
				refused("a camera", r.camera, http.StatusUnauthorized)
				refused("a client", r.client, http.StatusUnauthorized)
				return
			}
			switch {
			case slices.Contains(camerasSee, route):
				refused("a client", r.client, http.StatusNotFound)
			case slices.Contains(camerasOnly, route):
				refused("a client", r.client, http.StatusForbidden)
			case slices.Contains(clientsOnly, route):
				refused("a camera", r.camera, http.StatusForbidden)
			case method != http.MethodGet && !slices.Contains(bothRoles, route):
				t.Errorf("%s takes the tokens of devices: add it to camerasOnly, clientsOnly or bothRoles", route)
			}
		})
		r.mustBeWhole(t)
		for _, route := range camerasSee {
			method, _, _ := strings.Cut(route, " ")
			r.camera.must(http.StatusOK, method, r.own(route), json.RawMessage(validBodies[route]), nil)
		}
	})
}

// with is the same client with another token.
func (c *apiClient) with(token string) *apiClient {
	other := *c
	other.token = token
	return &other
}

// mustNotConnect holds that the gateway, which learns who asks from the first
// message at the latest, hangs up on a token that is no device's.
func (c *apiClient) mustNotConnect(t *testing.T, who string) {
	t.Helper()
	ws := strings.Replace(c.base, "http", "ws", 1) + "/realtime"
	conn, res, err := websocket.DefaultDialer.DialContext(t.Context(), ws, nil)
	if err != nil {
		t.Fatalf("gateway: %v (%v)", err, res)
	}
	defer func() { _ = conn.Close() }()
	hello := map[string]any{"event": "authenticate", "data": map[string]string{"token": c.token}}
	if err := conn.WriteJSON(hello); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		var said envelopeJSON
		if err = conn.ReadJSON(&said); said.Event == "ready" {
			t.Errorf("the gateway lets in %s", who)
			return
		}
	}
	if !websocket.IsCloseError(err, gateway.CloseUnauthenticated) {
		t.Errorf("the gateway leaves %s with %v", who, err)
	}
}

// own is the path of an operation on what the resident has.
func (r resident) own(route string) string {
	_, path, _ := strings.Cut(route, " ")
	prefix, _, found := strings.Cut(path, "{}")
	if !found {
		return path
	}
	id := r.ids[prefix+"{}"]
	if strings.HasPrefix(path, "/whip/") || strings.HasPrefix(path, "/whep/") {
		id = r.ids["/media-sessions/{}"]
	}
	return strings.ReplaceAll(strings.Replace(path, "{}", id, 1), "{}", r.ids["delivery"])
}

// TestWrongRolesInBodies names devices where those of the other role belong.
func TestWrongRolesInBodies(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w walk) {
		r := settle(t, w.app, w.db)
		camera, client := r.ids["/devices/{}"], r.ids["client"]
		for _, c := range []struct {
			who        *apiClient
			path, body string
		}{
			{r.client, "/commands", `{"targetDeviceId":"` + client + `","commandType":"zoom"}`},
			{r.client, "/commands", `{"targetDeviceId":"` + camera + `","sourceDeviceId":"` + camera + `","commandType":"zoom"}`},
			{r.user, "/commands", `{"targetDeviceId":"` + client + `","sourceDeviceId":"` + camera + `","commandType":"zoom"}`},
			{r.user, "/commands", `{"targetDeviceId":"` + camera + `","sourceDeviceId":"` + camera + `","commandType":"zoom"}`},
			{r.user, "/device-links", `{"cameraDeviceId":"` + client + `","clientDeviceId":"` + camera + `"}`},
			{r.user, "/device-links", `{"cameraDeviceId":"` + camera + `","clientDeviceId":"` + camera + `"}`},
			{r.client, "/streams/request", `{"cameraDeviceId":"` + client + `"}`},
			{r.client, "/videos/upload-url", `{"name":"a","contentType":"video/webm","size":1,"deviceId":"` + camera + `"}`},
		} {
			status, answer := c.who.raw(http.MethodPost, c.path, json.RawMessage(c.body))
			if status < 400 || status >= 500 || codeOf(answer) == "" {
				t.Errorf("POST %s with %s: %d %s", c.path, c.body, status, answer)
			}
		}
		r.mustBeWhole(t)
	})
}
