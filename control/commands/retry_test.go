package commands_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/control/commands"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// expire fails every command that is not answered.
func (w *world) expire() {
	w.t.Helper()
	at := storetest.Now()
	_, err := w.db.ExpireCommands(w.t.Context(), store.CommandExpiry{At: at, CreatedBefore: at.Add(time.Hour), Limit: 100})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.connect(w.client)
	c := w.send("blink")
	path := "/commands/" + c.ID
	if code := w.call(user(w.user), "POST", path+"/retry", "", 409, nil); code != "command_not_failed" {
		t.Errorf("a command that waits: %s", code)
	}
	if code := w.call(user(w.user), "DELETE", path, "", 409, nil); code != "command_pending" {
		t.Errorf("deleted while it waits: %s", code)
	}
	w.expire()
	w.call(w.as(w.camera), "POST", path+"/retry", "", 403, nil)
	w.call(w.as(w.camera), "DELETE", path, "", 403, nil)
	bystander := storetest.Client(t, w.db, w.user)
	for _, who := range []string{w.as(bystander), user(storetest.User(t, w.db).ID)} {
		w.call(who, "POST", path+"/retry", "", 404, nil)
		w.call(who, "DELETE", path, "", 404, nil)
	}
	var got commands.Command
	w.call(w.as(w.client), "POST", path+"/retry", "", 200, &got)
	if got.Status != "queued" || got.Error != "" || !got.CreatedAt.Equal(c.CreatedAt) {
		t.Errorf("queued again: %+v", got)
	}
	client.expectCommand("command:status", c.ID, "queued")
	w.connect(w.camera).expectCommand("command:received", c.ID, "queued")
	w.call(w.as(w.camera), "POST", path+"/ack", `{"status":"acknowledged"}`, 200, nil)
	if code := w.call(user(w.user), "POST", path+"/retry", "", 409, nil); code != "command_not_failed" {
		t.Errorf("an answered command: %s", code)
	}
	w.call(w.as(w.client), "DELETE", path, "", 204, nil)
	w.call(user(w.user), "GET", path, "", 404, nil)
}

// TestRetryNeedsALink has the link go after the command was in vain.
func TestRetryNeedsALink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.send("blink")
	w.expire()
	links, err := w.db.Links(t.Context(), w.user, store.LinkFilter{DeviceID: w.client.ID}, store.Page{Limit: 10})
	if err != nil || len(links) != 1 {
		t.Fatal(links, err)
	}
	if err := w.db.RevokeLink(t.Context(), w.user, links[0].ID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	if code := w.call(user(w.user), "POST", "/commands/"+c.ID+"/retry", "", 403, nil); code != "not_linked" {
		t.Errorf("without a link: %s", code)
	}
}
