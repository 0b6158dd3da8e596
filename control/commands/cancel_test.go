package commands_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/securecam/securecam/control/commands"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	camera, client := w.connect(w.camera), w.connect(w.client)
	bystander := storetest.Client(t, w.db, w.user)
	c := w.send("blink")
	camera.expectCommand("command:received", c.ID, "queued")
	path := "/commands/" + c.ID + "/cancel"
	w.call(w.as(w.camera), "POST", path, "", 403, nil)
	w.call(w.as(bystander), "POST", path, "", 404, nil)
	w.call(user(storetest.User(t, w.db).ID), "POST", path, "", 404, nil)
	var got commands.Command
	w.call(w.as(w.client), "POST", path, "", 200, &got)
	if got.Status != "failed" || got.Error != "cancelled" {
		t.Errorf("cancelled: %+v", got)
	}
	camera.expectCommand("command:cancelled", c.ID, "failed")
	client.expectCommand("command:status", c.ID, "failed")
	if code := w.call(user(w.user), "POST", path, "", 409, nil); code != "command_ended" {
		t.Errorf("cancelled twice: %s", code)
	}
	if code := w.call(w.as(w.camera), "POST", "/commands/"+c.ID+"/ack", `{"status":"acknowledged"}`, 409, nil); code != "command_ended" {
		t.Errorf("answered after the end: %s", code)
	}
	other := w.send("blink")
	camera.expectCommand("command:received", other.ID, "queued")
	w.call(user(w.user), "POST", "/commands/"+other.ID+"/cancel", "", 200, nil)
}

// TestSourceHearsOfOtherEnds: a command that ends with something else is no
// longer waited for.
func TestSourceHearsOfOtherEnds(t *testing.T) {
	t.Parallel()
	for reason, end := range map[string]func(ctx context.Context, w *world) error{
		"link_revoked": func(ctx context.Context, w *world) error {
			link, err := w.db.ActiveLink(ctx, w.camera.ID, w.client.ID)
			if err != nil {
				return err
			}
			return w.db.RevokeLink(ctx, w.user, link.ID, store.Actor{})
		},
		"device_deleted": func(ctx context.Context, w *world) error {
			return w.db.DeleteDevice(ctx, w.user, w.camera.ID, store.Actor{})
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			client := w.connect(w.client)
			c := w.send("blink")
			if err := end(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			if told := client.expectCommand("command:status", c.ID, "failed"); told.Error != reason {
				t.Errorf("told %q", told.Error)
			}
		})
	}
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := storetest.Client(t, w.db, w.user)
	blink, beep := w.send("blink"), w.send("beep")
	w.call(w.as(w.camera), "POST", "/commands/"+beep.ID+"/ack", `{"status":"rejected"}`, 200, nil)
	body := `{"targetDeviceId":"` + w.camera.ID + `","commandType":"blink"}`
	var third commands.Command
	w.call(w.as(second), "POST", "/commands", body, 201, &third)
	for query, want := range map[string][]string{
		"":                                 {third.ID, beep.ID, blink.ID},
		"?commandType=blink":               {third.ID, blink.ID},
		"?status=rejected":                 {beep.ID},
		"?status=rejected&commandType=x":   nil,
		"?deviceId=" + second.ID:           {third.ID},
		"?deviceId=unknown":                nil,
		"?limit=1&deviceId=" + w.client.ID: {beep.ID},
	} {
		var list struct {
			Items      []commands.Command
			NextCursor string
		}
		w.call(user(w.user), "GET", "/commands"+query, "", 200, &list)
		var ids []string
		for _, c := range list.Items {
			ids = append(ids, c.ID)
		}
		if fmt.Sprint(ids) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", query, ids, want)
		}
		if list.NextCursor != "" {
			w.call(user(w.user), "GET", "/commands"+query+"&cursor="+list.NextCursor, "", 200, &list)
			if len(list.Items) != 1 || list.Items[0].ID != blink.ID {
				t.Errorf("the next page of %s: %+v", query, list.Items)
			}
		}
	}
	// A device sees what is its own, whatever it asks for.
	var list struct{ Items []commands.Command }
	w.call(w.as(w.client), "GET", "/commands?deviceId="+second.ID, "", 200, &list)
	if len(list.Items) != 0 {
		t.Errorf("another device's commands: %+v", list.Items)
	}
	w.call(user(w.user), "GET", "/commands?status=none", "", 422, nil)
}
