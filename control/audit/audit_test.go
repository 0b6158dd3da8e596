package audit_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/audit"
	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// callers takes a cookie's value for a user id; device tokens are real.
type callers struct{ *auth.Service }

func (callers) Session(_ context.Context, cookies []*http.Cookie) (auth.Principal, *http.Cookie, error) {
	if len(cookies) != 1 {
		return auth.Principal{}, nil, auth.ErrUnauthenticated
	}
	return auth.Principal{UserID: cookies[0].Value, SessionID: "s"}, nil, nil
}

type world struct {
	t              *testing.T
	db             *store.DB
	app            *fiber.App
	tokens         *auth.Service
	user           store.User
	camera, client store.Device
}

func newWorld(t *testing.T, db *store.DB) *world {
	t.Helper()
	w := &world{t: t, db: db, user: storetest.User(t, db)}
	w.camera, w.client = storetest.Camera(t, db, w.user.ID), storetest.Client(t, db, w.user.ID)
	var err error
	if w.tokens, err = auth.New(auth.Config{Store: db, Secret: []byte("0123456789abcdef")}); err != nil {
		t.Fatal(err)
	}
	w.app = fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true})
	api := rest.New(w.app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, callers{w.tokens}))
	audit.New(db).Mount(w.app, api)
	return w
}

// list asks as the user, or as a device.
func (w *world) list(d *store.Device, query string, want int) rest.List[audit.Entry] {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/audit?"+query, nil)
	if d == nil {
		r.AddCookie(&http.Cookie{Name: "id", Value: w.user.ID})
	} else {
		token, _, err := w.tokens.IssueDeviceToken(*d)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := w.app.Test(r, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != want {
		w.t.Fatalf("%s: %d %s, want %d", query, response.StatusCode, body, want)
	}
	var list rest.List[audit.Entry]
	if want == http.StatusOK {
		if err := json.Unmarshal(body, &list); err != nil {
			w.t.Fatal(err)
		}
	}
	return list
}

func actions(list rest.List[audit.Entry]) []string {
	got := make([]string, len(list.Items))
	for i, e := range list.Items {
		got[i] = e.Action
	}
	return got
}

func TestAudit(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, other := newWorld(t, db), newWorld(t, db)
		by := store.Actor{UserID: w.user.ID, DeviceID: w.client.ID, IP: "203.0.113.7"}
		err := db.NoteAccess(t.Context(), by, w.user.ID, "recording", store.AuditDownload, "r1", map[string]any{"keep": true})
		if err != nil {
			t.Fatal(err)
		}
		operator := store.Actor{Admin: "root", IP: "198.51.100.1"}
		if err := db.SetDeviceKey(t.Context(), w.user.ID, w.camera.ID, storetest.ID(), operator); err != nil {
			t.Fatal(err)
		}
		w.camera, _ = db.Device(t.Context(), w.user.ID, w.camera.ID)
		all := w.list(nil, "", 200)
		if len(all.Items) != 5 { // user.create, two device.register, and the two above
			t.Fatalf("got %v", actions(all))
		}
		newest := all.Items[0]
		if newest.Action != "device.rotate_key" || string(newest.Metadata) != `{"admin":"root"}` || newest.ActorUserID != "" {
			t.Errorf("got %+v", newest)
		}
		download := all.Items[1]
		if download.Action != "recording.download" || download.TargetID != "r1" || download.ActorDeviceID != w.client.ID ||
			download.IPAddress != by.IP || string(download.Metadata) != `{"keep":true}` {
			t.Errorf("got %+v", download)
		}
		for _, test := range []struct {
			query string
			want  int
		}{
			{"action=recording.download", 1},
			{"action=device.", 3},
			{"action=device.&targetId=" + w.camera.ID, 2},
			{"targetType=user", 1},
			{"actorDeviceId=" + w.client.ID, 1},
			{"since=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)), 0},
			{"until=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)), 5},
			{"targetId=" + other.camera.ID, 0},
		} {
			if got := w.list(nil, test.query, 200); len(got.Items) != test.want {
				t.Errorf("%s: got %v, want %d", test.query, actions(got), test.want)
			}
		}
		for _, query := range []string{
			"action=x", "action=%25", "limit=0", "since=yesterday", "cursor=x",
			"since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
		} {
			w.list(nil, query, 422)
		}
		// Two pages make the whole.
		first := w.list(nil, "limit=3", 200)
		second := w.list(nil, "limit=3&cursor="+first.NextCursor, 200)
		if len(first.Items) != 3 || len(second.Items) != 2 || second.NextCursor != "" || second.Items[0].ID == first.Items[2].ID {
			t.Errorf("pages of %d and %d", len(first.Items), len(second.Items))
		}
		// A device sees its own business alone.
		if got := actions(w.list(&w.client, "", 200)); len(got) != 2 {
			t.Errorf("the client sees %v", got)
		}
		if got := actions(w.list(&w.camera, "", 200)); len(got) != 2 {
			t.Errorf("the camera sees %v", got)
		}
		if got := w.list(&w.camera, "targetId=r1", 200); len(got.Items) != 0 {
			t.Errorf("the camera sees %v", actions(got))
		}
	})
}
