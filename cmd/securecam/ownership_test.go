package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

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
	database := postgresSettings(t)
	app := startApp(t, append(database, "--rate-limits=off")...)
	db, err := store.Open(t.Context(), store.Config{URL: strings.TrimPrefix(database[0], "--database-url=")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	victim, thief := settle(t, app, db), settle(t, app, db)
	doc, _ := readOpenAPI(t, app.url)
	for path, operations := range doc.Paths {
		for method, op := range operations {
			route := strings.ToUpper(method) + " " + shape(path)
			if len(op.Security) > 0 && !strings.HasPrefix(path, "/api/auth/") {
				steal(t, victim, thief, route, op)
			}
		}
	}
	// Nothing of the victim's has changed or gone.
	for at, id := range victim.ids {
		if path, ok := strings.CutSuffix(at, "{}"); ok && at != "/device-links/{}" && at != "/media-sessions/{}" {
			victim.user.must(200, "GET", path+id, nil, nil)
		}
	}
	if s := victim.client.stream(victim.ids["/streams/{}"]); s.Status != "streaming" {
		t.Errorf("the victim's stream is %+v", s)
	}
}

// steal tries one operation as the thief, in every way that it takes.
func steal(t *testing.T, victim, thief resident, route string, op operationJSON) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	if takes(op, "media") { // WHIP and WHEP: a token for one media session
		path = strings.Replace(path, "{}", victim.ids["/media-sessions/{}"], 1)
		if status, body := thief.client.raw(method, strings.ReplaceAll(path, "{}", "x"), nil); status != http.StatusUnauthorized {
			t.Errorf("%s with a device token: %d %s", route, status, body)
		}
		return
	}
	if !takes(op, "session") && !takes(op, "device") {
		t.Errorf("%s needs %v, of which this test knows nothing", route, op.Security)
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

// TestWrongRoles sends what only the other side of a stream may.
func TestWrongRoles(t *testing.T) {
	t.Parallel()
	database := postgresSettings(t)
	app := startApp(t, append(database, "--rate-limits=off")...)
	db, err := store.Open(t.Context(), store.Config{URL: strings.TrimPrefix(database[0], "--database-url=")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := settle(t, app, db)
	stream, camera := r.ids["/streams/{}"], r.ids["/devices/{}"]
	for _, c := range []struct {
		who          *apiClient
		method, path string
		body         any
	}{
		{r.camera, "POST", "/streams/request", map[string]any{"cameraDeviceId": camera}},
		{r.client, "POST", "/streams/" + stream + "/accept", nil},
		{r.client, "GET", "/streams/" + stream + "/publish-credentials", nil},
		{r.client, "POST", "/media-sessions", nil},
		{r.client, "DELETE", "/media-sessions/" + r.ids["/media-sessions/{}"], nil},
		{r.client, "POST", "/events/motion/start", map[string]any{}},
		{r.client, "POST", "/events/" + r.ids["/events/{}"] + "/end", nil},
		{r.client, "POST", "/devices/" + camera + "/heartbeat", nil},
		{r.client, "POST", "/commands/" + r.ids["/commands/{}"] + "/ack", map[string]any{"status": "acknowledged"}},
		{r.client, "POST", "/recordings/" + r.ids["/recordings/{}"] + "/finalize", map[string]any{}},
		{r.camera, "POST", "/commands", map[string]any{"targetDeviceId": camera, "commandType": "zoom"}},
	} {
		status, answer := c.who.raw(c.method, c.path, c.body)
		if status != http.StatusForbidden && status != http.StatusNotFound && status != http.StatusUnprocessableEntity || codeOf(answer) == "" {
			t.Errorf("%s %s in the wrong role: %d %s", c.method, c.path, status, answer)
		}
	}
}

// TestBadBodies sends every operation that takes JSON what it does not take.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--rate-limits=off")
	doc, _ := readOpenAPI(t, app.url)
	user := signUp(t, app.url, "bad@example.org")
	camera, _ := user.register("camera")
	bodies := map[string]string{
		"an unknown field": `{"nonsense":1}`, "another type": `[1]`, "no JSON": `{`, "a number": `7`,
		"U+0000":     `{"name":"\u0000"}`,
		"too much":   `{"name":"` + strings.Repeat("x", 70<<10) + `"}`,
		"null bytes": "\x00\x00", "deep": strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000),
	}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if op.RequestBody == nil || op.RequestBody.Content["application/json"].Schema == nil ||
				strings.HasPrefix(path, "/admin/") || strings.HasPrefix(path, "/whep/") {
				continue
			}
			who := user
			if !takes(op, "session") && takes(op, "device") {
				who = camera
			}
			target := pathParameter.ReplaceAllString(path, uuid.NewString())
			for what, body := range bodies {
				status, answer := who.send(strings.ToUpper(method), target, "application/json", body)
				if status < 400 || status >= 500 || codeOf(answer) == "" {
					t.Errorf("%s %s with %s: %d %s", method, path, what, status, answer)
				}
			}
			if status, answer := who.send(strings.ToUpper(method), target, "text/plain", "{}"); status != http.StatusUnsupportedMediaType {
				t.Errorf("%s %s as text: %d %s", method, path, status, answer)
			}
		}
	}
}

// authBodies name another user's things to operations of accounts, as "?key",
// with the status that says nothing: a session that is not one's own is not
// found, and that is not told.
var authBodies = map[string]struct {
	status int
	body   string
}{
	"POST /api/auth/revoke-session":         {http.StatusOK, `{"token":"?session"}`},
	"GET /api/auth/delete-user/callback":    {http.StatusNotFound, ""},
	"POST /api/auth/passkey/update-passkey": {http.StatusNotFound, `{"id":"?passkey","name":"mine"}`},
	"POST /api/auth/passkey/delete-passkey": {http.StatusNotFound, `{"id":"?passkey"}`},
}

// authQueries are what operations of accounts need beside a path.
var authQueries = map[string]string{"GET /api/auth/delete-user/callback": "?token=of-another"}

// authOwn are operations of accounts that name nothing of anybody's: they work
// on whoever asks.
var authOwn = []string{
	"GET /api/auth/list-accounts", "GET /api/auth/list-sessions", "GET /api/auth/passkey/generate-register-options",
	"GET /api/auth/passkey/list-user-passkeys", "POST /api/auth/change-email", "POST /api/auth/change-password",
	"POST /api/auth/delete-user", "POST /api/auth/passkey/verify-registration", "POST /api/auth/revoke-other-sessions",
	"POST /api/auth/revoke-sessions", "POST /api/auth/two-factor/disable", "POST /api/auth/two-factor/enable",
	"POST /api/auth/two-factor/generate-backup-codes", "POST /api/auth/two-factor/get-totp-uri", "POST /api/auth/update-user",
}

// TestOwnershipOfAccounts sends the operations of accounts with another user's
// ids in their bodies, and looks for these in what they list.
func TestOwnershipOfAccounts(t *testing.T) {
	t.Parallel()
	database := postgresSettings(t)
	app := startApp(t, append(database, "--rate-limits=off")...)
	db, err := store.Open(t.Context(), store.Config{URL: strings.TrimPrefix(database[0], "--database-url=")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	victim, thief := signUp(t, app.url, "victim@example.org"), signUp(t, app.url, "thief@example.org")
	other := newBrowser(t, app.url) // the victim's, too
	other.must(http.StatusOK, "POST", "/api/auth/sign-in/email",
		map[string]string{"email": "victim@example.org", "password": "correct horse battery"}, nil)
	var me struct{ User, Session struct{ ID string } }
	other.must(http.StatusOK, "GET", "/api/auth/get-session", nil, &me)
	passkey := store.Passkey{
		ID: uuid.NewString(), UserID: me.User.ID, Name: "key", CredentialID: "x", Credential: json.RawMessage(`{}`), CreatedAt: storetest.Now(),
	}
	if err := db.CreatePasskey(t.Context(), passkey, 9, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{"session": me.Session.ID, "passkey": passkey.ID, "user": me.User.ID}

	doc, _ := readOpenAPI(t, app.url)
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if !strings.HasPrefix(path, "/api/auth/") || len(op.Security) == 0 {
				continue
			}
			route := strings.ToUpper(method) + " " + path
			names, known := authBodies[route]
			switch {
			case known:
				for key, id := range ids {
					names.body = strings.ReplaceAll(names.body, `"?`+key+`"`, `"`+id+`"`)
				}
				var in any
				if names.body != "" {
					in = json.RawMessage(names.body)
				}
				if status, answer := thief.raw(strings.ToUpper(method), path+authQueries[route], in); status != names.status {
					t.Errorf("%s with another's ids: %d %s, want %d", route, status, answer, names.status)
				}
			case !slices.Contains(authOwn, route):
				t.Errorf("%s: add it to authBodies, or to authOwn if it names nothing", route)
			case method == "get":
				_, answer := thief.raw(http.MethodGet, path, nil)
				for what, id := range ids {
					if strings.Contains(string(answer), id) {
						t.Errorf("%s shows another's %s: %s", route, what, answer)
					}
				}
			}
			status, answer := newBrowser(t, app.url).raw(strings.ToUpper(method), path+authQueries[route], json.RawMessage(`{}`))
			if status != http.StatusUnauthorized {
				t.Errorf("%s without a session: %d %s", route, status, answer)
			}
		}
	}
	for _, b := range []*apiClient{victim, other} {
		b.must(http.StatusOK, "GET", "/devices", nil, nil)
	}
	if keys, err := db.Passkeys(t.Context(), me.User.ID); err != nil || len(keys) != 1 || keys[0].Name != "key" {
		t.Errorf("the victim's passkeys are %+v, %v", keys, err)
	}
}
