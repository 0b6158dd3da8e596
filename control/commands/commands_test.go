package commands_test

import (
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/control/commands"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func ack(id, rest string) string {
	return `{"event":"command:ack","id":"a","data":{"commandId":"` + id + `",` + rest + `}}`
}

func TestSentAtOnceAndAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	camera, client := w.connect(w.camera), w.connect(w.client)
	sent := w.send("start_stream")
	if sent.Status != "sent" || sent.SentAt.IsZero() || sent.SourceDeviceID != w.client.ID || string(sent.Payload) != `{"n":1}` {
		t.Errorf("the answer is %+v", sent)
	}
	got := camera.expectCommand("command:received", sent.ID, "queued")
	if got.CommandType != "start_stream" || string(got.Payload) != `{"n":1}` || got.TargetDeviceID != w.camera.ID {
		t.Errorf("the camera got %+v", got)
	}
	camera.say(ack(sent.ID, `"status":"acknowledged","result":{"ok": true}`))
	camera.expectCommand("reply", sent.ID, "acknowledged")
	told := client.expectCommand("command:status", sent.ID, "acknowledged")
	if string(told.Result) != `{"ok":true}` || told.AckAt.IsZero() || told.RetryCount != 0 {
		t.Errorf("the client was told %+v", told)
	}
	w.expectStatus(sent.ID, "acknowledged")

	var problem struct{ Code string }
	camera.say(ack(sent.ID, `"status":"rejected"`))
	camera.expect("error", &problem)
	if problem.Code != "command_ended" {
		t.Errorf("second answer: %s, want command_ended", problem.Code)
	}
	w.expectStatus(sent.ID, "acknowledged")
}

func TestQueuedUntilTheCameraConnects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.connect(w.client)
	first, second := w.send("one"), w.send("two")
	if first.Status != "queued" || !first.SentAt.IsZero() {
		t.Errorf("the answer is %+v", first)
	}
	camera := w.connect(w.camera)
	camera.expectCommand("command:received", first.ID, "queued")
	camera.expectCommand("command:received", second.ID, "queued")
	client.expectCommand("command:status", first.ID, "sent")
	client.expectCommand("command:status", second.ID, "sent")

	// What was sent and not answered comes again with the next connection.
	camera.say(ack(first.ID, `"status":"rejected","error":"busy"`))
	camera.expectCommand("reply", first.ID, "rejected")
	if c := client.expectCommand("command:status", first.ID, "rejected"); c.Error != "busy" {
		t.Errorf("the error is %q, want busy", c.Error)
	}
	_ = camera.Close()
	camera = w.connect(w.camera)
	camera.expectCommand("command:received", second.ID, "sent")
	camera.say(`{"event":"ping","id":"p"}`) // handled after the hook
	camera.expect("reply", nil)
	if c := w.expectStatus(second.ID, "sent"); c.RetryCount != 1 {
		t.Errorf("%d retries counted, want 1", c.RetryCount)
	}
	camera.say(ack(second.ID, `"status":"acknowledged"`))
	camera.expectCommand("reply", second.ID, "acknowledged")
	_ = camera.Close()
	camera = w.connect(w.camera)
	camera.say(`{"event":"ping","id":"p"}`)
	camera.expect("reply", nil) // and nothing else before it
}

func TestBacklogIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 60 {
		now := storetest.Now()
		err := w.db.CreateCommand(t.Context(), store.Command{
			ID: storetest.ID(), OwnerUserID: w.user, SourceDeviceID: w.client.ID, TargetDeviceID: w.camera.ID,
			CommandType: "x", Status: store.CommandQueued, CreatedAt: now, UpdatedAt: now,
		}, store.Actor{})
		if err != nil {
			t.Fatal(err)
		}
	}
	camera := w.connect(w.camera)
	for range 50 {
		camera.expect("command:received", nil)
	}
	camera.say(`{"event":"ping","id":"p"}`)
	camera.expect("reply", nil)
	if s := w.gate.Stats(); s.SlowReaders != 0 {
		t.Error("the backlog overran the camera's queue")
	}
}

func TestDispatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	camera := w.connect(w.camera)
	now := storetest.Now()
	c := store.Command{
		ID: storetest.ID(), OwnerUserID: w.user, SourceDeviceID: w.client.ID, TargetDeviceID: w.camera.ID,
		CommandType: "start_stream", Status: store.CommandQueued, CreatedAt: now, UpdatedAt: now,
	}
	if err := w.db.CreateCommand(t.Context(), c, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	w.service.Dispatch(t.Context(), c)
	got := camera.expectCommand("command:received", c.ID, "queued")
	if string(got.Payload) != "{}" {
		t.Errorf("payload %s, want {}", got.Payload)
	}
	w.expectStatus(c.ID, "sent")
}

func TestAckOverREST(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.connect(w.client)
	c := w.send("beep")
	path := "/commands/" + c.ID + "/ack"
	other := storetest.Camera(t, w.db, w.user)
	stranger := storetest.Camera(t, w.db, storetest.User(t, w.db).ID)
	const yes = `{"status":"acknowledged"}`

	w.call(w.as(other), "POST", path, yes, 404, nil)
	w.call(w.as(stranger), "POST", path, yes, 404, nil)
	w.call(w.as(w.client), "POST", path, yes, 404, nil) // the source cannot answer itself
	w.call(user(w.user), "POST", path, yes, 401, nil)
	w.call("", "POST", path, yes, 401, nil)
	for _, bad := range []string{
		`{}`, `{"status":"sent"}`, `{"status":"failed"}`, `{"status":"acknowledged","x":1}`,
		`{"status":"rejected","error":"` + strings.Repeat("x", 1001) + `"}`,
		`{"status":"rejected","result":"` + strings.Repeat("x", 8<<10) + `"}`,
	} {
		w.call(w.as(w.camera), "POST", path, bad, 422, nil)
	}
	w.expectStatus(c.ID, "queued")

	var done commands.Command
	w.call(w.as(w.camera), "POST", path, `{"status":"rejected","error":"no","result":[1, 2]}`, 200, &done)
	if done.Status != "rejected" || done.Error != "no" || string(done.Result) != "[1,2]" {
		t.Errorf("answered with %+v", done)
	}
	client.expectCommand("command:status", c.ID, "rejected")
	if code := w.call(w.as(w.camera), "POST", path, yes, 409, nil); code != "command_ended" {
		t.Errorf("second answer: %s, want command_ended", code)
	}
	w.call(w.as(w.camera), "POST", "/commands/unknown/ack", yes, 404, nil)
}

func TestAckOverSocketIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.send("beep")
	stranger := w.connect(storetest.Camera(t, w.db, storetest.User(t, w.db).ID))
	for message, code := range map[string]string{
		ack(c.ID, `"status":"acknowledged"`):                                       "not_found",
		ack(c.ID, `"status":"queued"`):                                             "invalid_ack",
		ack(c.ID, `"status":"acknowledged","x":1`):                                 "validation_failed",
		ack(c.ID, `"status":1`):                                                    "validation_failed",
		`{"event":"command:ack","id":"a"}`:                                         "invalid_ack",
		ack(c.ID, `"status":"rejected","result":"`+strings.Repeat("x", 8<<10)+`"`): "invalid_payload",
	} {
		stranger.say(message)
		var problem struct{ Code string }
		stranger.expect("error", &problem)
		if problem.Code != code {
			t.Errorf("%.100s: %s, want %s", message, problem.Code, code)
		}
	}
	w.expectStatus(c.ID, "queued")
}

func TestWhoMaySend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	strangerID := storetest.User(t, w.db).ID
	foreign := storetest.Camera(t, w.db, strangerID)
	second := storetest.Client(t, w.db, w.user)
	links, err := w.db.Links(t.Context(), w.user, store.LinkFilter{DeviceID: second.ID}, store.Page{Limit: 10})
	if err != nil || len(links) != 1 {
		t.Fatal(links, err)
	}
	if err := w.db.RevokeLink(t.Context(), w.user, links[0].ID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	body := func(target, source string) string {
		s := `{"targetDeviceId":"` + target + `","commandType":"x"`
		if source != "" {
			s += `,"sourceDeviceId":"` + source + `"`
		}
		return s + "}"
	}
	me := user(w.user)
	tests := []struct {
		name, who, body string
		status          int
		code            string
	}{
		{"client to camera", w.as(w.client), body(w.camera.ID, ""), 201, ""},
		{"client names itself", w.as(w.client), body(w.camera.ID, w.client.ID), 201, ""},
		{"user for the client", me, body(w.camera.ID, w.client.ID), 201, ""},
		{"user without a source", me, body(w.camera.ID, ""), 422, "source_required"},
		{"user for a camera", me, body(w.camera.ID, w.camera.ID), 403, "wrong_role"},
		{"client for another", w.as(w.client), body(w.camera.ID, second.ID), 403, "forbidden"},
		{"camera to client", w.as(w.camera), body(w.client.ID, ""), 403, "wrong_role"},
		{"client to client", w.as(w.client), body(second.ID, ""), 403, "wrong_role"},
		{"not linked", w.as(second), body(w.camera.ID, ""), 403, "not_linked"},
		{"foreign camera", w.as(w.client), body(foreign.ID, ""), 404, "not_found"},
		{"foreign client", user(strangerID), body(foreign.ID, w.client.ID), 404, "not_found"},
		{"unknown camera", w.as(w.client), body("nobody", ""), 404, "not_found"},
		{"nobody", "", body(w.camera.ID, ""), 401, "unauthenticated"},
	}
	for _, tt := range tests {
		if code := w.call(tt.who, "POST", "/commands", tt.body, tt.status, nil); code != tt.code {
			t.Errorf("%s: code %q, want %q", tt.name, code, tt.code)
		}
	}
}

func TestBadCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := func(rest string) string { return `{"targetDeviceId":"` + w.camera.ID + `",` + rest + `}` }
	for _, rest := range []string{
		`"commandType":""`, `"commandType":"Start"`, `"commandType":"1x"`, `"commandType":"a-b"`, `"commandType":"a\nb"`,
		`"commandType":"` + strings.Repeat("a", 65) + `"`, `"commandType":"x","payload":[]`, `"commandType":"x","payload":null`,
		`"commandType":"x","payload":"{}"`, `"commandType":"x","status":"sent"`,
		`"commandType":"x","payload":{"a":"` + strings.Repeat("x", 8<<10) + `"}`,
	} {
		w.call(w.as(w.client), "POST", "/commands", body(rest), 422, nil)
	}
	w.call(w.as(w.client), "POST", "/commands", body(`"commandType":"x","payload":{"a":"\u0000"}`), 400, nil)
	var list rest.List[commands.Command]
	w.call(w.as(w.client), "GET", "/commands", "", 200, &list)
	if len(list.Items) != 0 {
		t.Errorf("bad commands left %+v", list.Items)
	}
}

func TestWhoSees(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.send("beep")
	other := storetest.Client(t, w.db, w.user)
	strangerID := storetest.User(t, w.db).ID
	for who, want := range map[string]int{user(w.user): 1, w.as(w.client): 1, w.as(w.camera): 1, w.as(other): 0, user(strangerID): 0} {
		var list rest.List[commands.Command]
		w.call(who, "GET", "/commands", "", 200, &list)
		status := 404
		if want == 1 {
			status = 200
		}
		w.call(who, "GET", "/commands/"+c.ID, "", status, nil)
		if len(list.Items) != want {
			t.Errorf("%.10s sees %d commands, want %d", who, len(list.Items), want)
		}
	}
	var list rest.List[commands.Command]
	w.send("beep")
	w.call(user(w.user), "GET", "/commands?limit=1", "", 200, &list)
	if len(list.Items) != 1 || list.NextCursor == "" || list.Items[0].CreatedAt.Before(c.CreatedAt.Add(-time.Second)) {
		t.Errorf("first page %+v", list)
	}
}
