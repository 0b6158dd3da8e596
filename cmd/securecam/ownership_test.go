package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/securecam/securecam/control/streams"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// resident is a user with one of everything.
type resident struct {
	user, camera, client *apiClient
	ids                  map[string]string // by what stands before an id in a path
}

// settle makes a user with one of everything that has an id.
func settle(t *testing.T, app *app, db *store.DB) resident {
	t.Helper()
	r := resident{user: signUp(t, app.url, uuid.NewString()+"@example.org"), ids: map[string]string{}}
	camera, cameraInfo := r.user.register("camera")
	client, clientInfo := r.user.register("client")
	r.camera, r.client = camera, client
	r.ids["/devices/{}"], r.ids["client"], r.ids["/device-links/{}"] = cameraInfo.Device.ID, clientInfo.Device.ID, clientInfo.Links[0].ID
	made := func(c *apiClient, want int, path string, body any) string {
		var m struct {
			ID      string
			EventID string
			Event   struct{ ID string }
			Video   struct{ ID string }
			Webhook struct{ ID string }
		}
		c.must(want, "POST", path, body, &m)
		for _, id := range []string{m.ID, m.Event.ID, m.Video.ID, m.Webhook.ID, m.EventID} {
			if id != "" {
				return id
			}
		}
		t.Fatalf("POST %s answers no id", path)
		return ""
	}
	r.ids["/commands/{}"] = made(client, 201, "/commands", map[string]any{"targetDeviceId": cameraInfo.Device.ID, "commandType": "zoom"})
	r.ids["/streams/{}"] = made(client, 201, "/streams/request", map[string]any{"cameraDeviceId": cameraInfo.Device.ID})
	camera.must(200, "POST", "/streams/"+r.ids["/streams/{}"]+"/accept", nil, nil)
	r.ids["/media-sessions/{}"] = client.stream(r.ids["/streams/{}"]).MediaSessionID
	const subscription = "PUT /devices/{}/push-subscription" // without one there is no push
	client.must(200, "PUT", "/devices/"+clientInfo.Device.ID+"/push-subscription", json.RawMessage(validBodies[subscription]), nil)
	r.ids["/events/{}"] = made(camera, 201, "/events/motion/start", map[string]any{})
	r.ids["/videos/{}"] = made(r.user, 201, "/videos/upload-url", map[string]any{"name": "a.webm", "contentType": "video/webm", "size": 10})
	r.ids["/webhooks/{}"] = made(r.user, 201, "/webhooks", map[string]any{"name": "hook", "url": "https://hooks.example.org/x"})
	r.ids["delivery"] = made(r.user, 202, "/webhooks/"+r.ids["/webhooks/{}"]+"/ping", nil)
	r.ids["/notifications/{}"] = first(t, r.user, "/notifications")
	r.ids["/push-notifications/{}"] = first(t, r.user, "/push-notifications")

	id := storetest.ID()
	var me struct{ User struct{ ID string } }
	r.user.must(200, "GET", "/api/auth/get-session", nil, &me)
	if err := db.CreateRecording(t.Context(), store.Recording{
		ID: id, OwnerUserID: me.User.ID, CameraDeviceID: cameraInfo.Device.ID, NodeID: "n", Status: store.RecordingRunning,
		ObjectKey: "recordings/" + id, ContentType: "video/webm", StartedAt: storetest.Now(), CreatedAt: storetest.Now(),
	}, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	r.ids["/recordings/{}"] = id
	return r
}

func first(t *testing.T, c *apiClient, path string) string {
	t.Helper()
	var list struct{ Items []struct{ ID string } }
	c.must(200, "GET", path, nil, &list)
	if len(list.Items) == 0 {
		t.Fatalf("%s is empty", path)
	}
	return list.Items[0].ID
}

// validBodies are what operations on one thing take, so that it is the id that
// they refuse.
var validBodies = map[string]string{
	"PATCH /devices/{}":                 `{"name":"mine"}`,
	"PUT /devices/{}/push-subscription": `{"endpoint":"https://push.example.org/x","keys":{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`, //nolint:lll // a key
	"POST /commands/{}/ack":             `{"status":"acknowledged"}`,
	"PUT /events/{}/thumbnail":          `{"thumbnail":"/9j/4AAQSkZJRg=="}`,
	"PATCH /notifications/{}":           `{"status":"read"}`,
	"POST /recordings/{}/upload-url":    `{"size":10}`,
	"POST /recordings/{}/finalize":      `{}`,
	"POST /streams/{}/end":              `{}`,
	"PATCH /webhooks/{}":                `{"name":"mine"}`,
	"POST /streams/{}/statistics":       `{"framesDecoded":1,"framesDropped":0,"freezeCount":0,"totalFreezesDuration":0,"packetsReceived":1,"packetsLost":0}`, //nolint:lll // one body
}

// foreignBodies name another user's things in the body, as "?key". What they
// are refused with is 404, or 403 where the caller may not do that at all.
var foreignBodies = map[string]string{
	"POST /commands":          `{"sourceDeviceId":"?client","targetDeviceId":"?/devices/{}","commandType":"zoom"}`,
	"POST /device-links":      `{"cameraDeviceId":"?/devices/{}","clientDeviceId":"?client"}`,
	"POST /streams/request":   `{"cameraDeviceId":"?/devices/{}"}`,
	"POST /videos/upload-url": `{"name":"a.webm","contentType":"video/webm","size":10,"deviceId":"?/devices/{}","eventId":"?/events/{}"}`,
}

// ownOnly are operations that name nothing: they work on what the caller has,
// or make something new. Lists are looked at as well.
var ownOnly = []string{
	"POST /devices/register", "POST /media-sessions", "POST /events/motion/start", "POST /events/motion/end",
	"POST /notifications/read", "POST /push-notifications/dispatch", "POST /webhooks", "GET /realtime",
}

// TestOwnership sends every operation of the API with another user's ids.
func TestOwnership(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w walk) {
		victim, thief := settle(t, w.app, w.db), settle(t, w.app, w.db)
		w.operations(func(_, method, path string, op operationJSON) {
			// What is open, the administrator's and of accounts have walks of their own.
			if len(op.Security) > 0 && !takesOnly(op, "admin") && !strings.HasPrefix(path, "/api/auth/") {
				steal(t, victim, thief, method+" "+shape(path), op)
			}
		})
		victim.mustBeWhole(t)
	})
}

// mustBeWhole holds that nothing of what settle made has gone, or was ended but
// by the watchdog, whose patience a slow machine may exceed.
func (r resident) mustBeWhole(t *testing.T) {
	t.Helper()
	for at, id := range r.ids {
		if path, ok := strings.CutSuffix(at, "{}"); ok {
			r.user.must(http.StatusOK, "GET", path+id, nil, nil)
		}
	}
	s := r.client.stream(r.ids["/streams/{}"])
	if s.Status != "streaming" && s.Reason != store.ReasonCameraLost && s.Reason != streams.ReasonViewerLeft {
		t.Errorf("the stream is %+v", s)
	}
}

// steal tries one operation as the thief, in every way that it takes.
func steal(t *testing.T, victim, thief resident, route string, op operationJSON) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	if takes(op, "media") {
		stealMedia(t, victim, thief, route, op)
		return
	}
	if !takes(op, "session") && !takes(op, "device") {
		t.Errorf("%s needs %v, of which this walk knows nothing", route, op.Security)
		return
	}
	body, target := validBodies[route], path
	switch {
	case strings.Contains(path, "{}"):
		prefix := path[:strings.Index(path, "{}")+2]
		if victim.ids[prefix] == "" {
			t.Errorf("%s: settle makes nothing for %s: add a case", route, prefix)
			return
		}
		target = strings.Replace(path, "{}", victim.ids[prefix], 1)
		target = strings.Replace(target, "{}", victim.ids["delivery"], 1)
	case foreignBodies[route] != "":
		body = foreignBodies[route]
		for key, id := range victim.ids {
			body = strings.ReplaceAll(body, `"?`+key+`"`, `"`+id+`"`)
		}
	case method == http.MethodGet || slices.Contains(ownOnly, route):
		if method == http.MethodGet && route != "GET /realtime" {
			list(t, victim, thief, path, op)
		}
		return
	default:
		t.Errorf("%s: add it to foreignBodies, or to ownOnly if its body names nothing", route)
		return
	}
	var in any
	if body != "" {
		in = json.RawMessage(body)
	}
	for _, c := range callers(thief, op) {
		status, answer := c.raw(method, target, in)
		// A device may be of the wrong role for the operation, whoever's it is.
		if status != http.StatusNotFound && (c == thief.user || status != http.StatusForbidden) {
			t.Errorf("%s with another's ids: %d %s, want 404", route, status, answer)
		}
		if code := codeOf(answer); code == "" {
			t.Errorf("%s: %s has no code", route, answer)
		}
	}
	anonymous := &apiClient{t: t, base: thief.user.base, http: thief.client.http, token: "nonsense"}
	if status, answer := anonymous.raw(method, target, in); status != http.StatusUnauthorized {
		t.Errorf("%s without credentials: %d %s", route, status, answer)
	}
}

// stealMedia tries an operation of WHIP or WHEP on the victim's media session,
// with the token of a device and with those of the thief's own media.
func stealMedia(t *testing.T, victim, thief resident, route string, op operationJSON) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	path = strings.Replace(path, "{}", victim.ids["/media-sessions/{}"], 1)
	path = strings.ReplaceAll(path, "{}", uuid.NewString())
	stream := "/streams/" + thief.ids["/streams/{}"]
	var publish, subscribe credentialsJSON
	thief.camera.must(http.StatusOK, "GET", stream+"/publish-credentials", nil, &publish)
	thief.client.must(http.StatusOK, "GET", stream+"/subscribe-credentials", nil, &subscribe)
	for what, token := range map[string]string{
		"a camera's": thief.camera.token, "a client's": thief.client.token, "no": "",
		"another camera's": publish.Token, "another viewer's": subscribe.Token,
	} {
		c := &apiClient{t: t, base: thief.user.base, http: thief.client.http, token: token}
		status, answer := c.send(method, path, bodyType(op), "v=0")
		if status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusNotFound || codeOf(answer) == "" {
			t.Errorf("%s with %s token: %d %s", route, what, status, answer)
		}
	}
}

// list asks for a list, also by the victim's ids, and looks for them in it.
func list(t *testing.T, victim, thief resident, path string, op operationJSON) {
	t.Helper()
	queries := []string{"?limit=200"}
	for _, p := range op.Parameters {
		if p.In == "query" && strings.HasSuffix(p.Name, "Id") {
			queries = append(queries, "?"+p.Name+"="+victim.ids["/devices/{}"], "?"+p.Name+"="+victim.ids["/streams/{}"])
		}
	}
	for _, c := range callers(thief, op) {
		for _, query := range queries {
			status, answer := c.raw(http.MethodGet, path+query, nil)
			if status >= 500 {
				t.Errorf("GET %s%s: %d %s", path, query, status, answer)
			}
			for what, id := range victim.ids {
				if strings.Contains(string(answer), id) {
					t.Errorf("GET %s%s shows another's %s: %s", path, query, what, answer)
				}
			}
		}
	}
}

func takes(op operationJSON, scheme string) bool {
	return slices.ContainsFunc(op.Security, func(r map[string][]string) bool { _, ok := r[scheme]; return ok })
}

// callers are those of a user who may call the operation.
func callers(r resident, op operationJSON) []*apiClient {
	var list []*apiClient
	if takes(op, "session") {
		list = append(list, r.user)
	}
	if takes(op, "device") {
		list = append(list, r.camera, r.client)
	}
	return list
}

func codeOf(answer []byte) string {
	var problem struct{ Code string }
	_ = json.Unmarshal(answer, &problem) // "" for anything else
	return problem.Code
}
