package events

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func jpeg(size int) []byte { return append([]byte{0xff, 0xd8, 0xff, 0xe0}, make([]byte, size-4)...) }

func TestFanOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gateway.online[w.who["client"].DeviceID] = true
	e := w.begin(fields{"triggeredBy": "person", "thumbnail": jpeg(1000)})
	if e.Status != "active" || e.TriggeredBy != "person" || e.CameraDeviceID != w.who["camera"].DeviceID ||
		!strings.HasPrefix(e.ThumbnailURL, "http://cam.example/objects/thumbnails/"+e.CameraDeviceID+"/") ||
		!strings.Contains(e.ThumbnailURL, "?by=d."+w.who["camera"].UserID) {
		t.Errorf("event %+v", e)
	}
	heard := w.gateway.take()
	if len(heard) != 1 || heard[0].event != EventStarted || heard[0].notice.EventID != e.ID || heard[0].notice.CameraName != "a camera" {
		t.Fatalf("heard %+v", heard)
	}
	// What goes to many is signed by the user's right, not the camera's.
	if url := heard[0].notice.ThumbnailURL; !strings.Contains(url, "?by=u.") {
		t.Errorf("thumbnail of the notice %s", url)
	}
	pushes := w.pushes()
	if len(pushes) != 1 || pushes[0].RecipientDeviceID != w.who["client2"].DeviceID || pushes[0].NextAttemptAt.After(time.Now()) ||
		!bytes.Contains(pushes[0].Payload, []byte(e.ID)) {
		t.Errorf("pushes %+v", pushes)
	}
	var list struct{ Items []Notification }
	w.do("client", "GET", "/notifications", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Status != "delivered" {
		t.Errorf("notifications of the client %+v", list.Items)
	}
	w.do("client2", "GET", "/notifications?unread=true", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Status != "sent" {
		t.Errorf("notifications of the other %+v", list.Items)
	}

	// Again: the same event, and nobody hears of it.
	var again Event
	status, _ := w.do("camera", "POST", "/events/motion/start", fields{"thumbnail": jpeg(100)}, &again)
	if status != 200 || again.ID != e.ID || len(w.gateway.take()) != 0 || len(w.pushes()) != 1 || w.objects.count() != 1 {
		t.Errorf("again: %d %+v, %d objects", status, again, w.objects.count())
	}
	w.want("camera2", "POST", "/events/motion/end", nil, 404, "no_active_event")
	w.want("camera2", "POST", "/events/"+e.ID+"/end", nil, 404, "not_found")
	w.want("camera", "POST", "/events/motion/end", nil, 200, "")
	if heard := w.gateway.take(); len(heard) != 1 || heard[0].event != EventEnded || heard[0].notice.EndedAt.IsZero() {
		t.Errorf("heard of the end %+v", heard)
	}
	w.want("camera", "POST", "/events/"+e.ID+"/end", nil, 409, "event_ended")
	if w.queue.n != 2 {
		t.Errorf("the workers were woken %d times", w.queue.n)
	}
}

// TestGatewayAway has nobody told directly: everybody gets a push.
func TestGatewayAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gateway.err = errors.New("bus away")
	w.objects.err = errors.New("storage away")
	e := w.begin(fields{"thumbnail": jpeg(1000)})
	if e.ThumbnailURL != "" || len(w.pushes()) != 2 {
		t.Errorf("event %+v, %d pushes", e, len(w.pushes()))
	}
}

func TestThumbnails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, data := range map[string][]byte{
		"too large": jpeg(maxThumbnail + 1), "text": []byte("hello, world"), "svg": []byte("<svg onload=alert(1)>"),
	} {
		w.want("camera", "POST", "/events/motion/start", fields{"thumbnail": data}, 422, "invalid_thumbnail")
		t.Log(name)
	}
	e := w.begin(fields{"thumbnail": jpeg(maxThumbnail)})
	path := "/events/" + e.ID + "/thumbnail"
	w.want("camera", "PUT", path, fields{"thumbnail": []byte("RIFF0000WEBPVP8 ")}, 200, "")
	w.want("camera", "PUT", path, fields{"thumbnail": []byte{}}, 422, "invalid_thumbnail")
	w.want("client", "PUT", path, fields{"thumbnail": jpeg(9)}, 403, "forbidden")
	w.want("camera2", "PUT", path, fields{"thumbnail": jpeg(9)}, 404, "not_found")
	w.want("foreign-camera", "PUT", path, fields{"thumbnail": jpeg(9)}, 404, "not_found")
	if w.objects.count() != 1 {
		t.Errorf("%d objects", w.objects.count())
	}
	w.want("user", "DELETE", "/events/"+e.ID, nil, 409, "event_active")
	w.want("camera", "POST", "/events/"+e.ID+"/end", nil, 200, "")
	w.objects.err = errors.New("away")
	w.want("user", "DELETE", "/events/"+e.ID, nil, 503, "storage_unavailable")
	w.objects.err = nil
	w.want("user", "DELETE", "/events/"+e.ID, nil, 204, "")
	if w.objects.count() != 0 {
		t.Errorf("%d objects are left", w.objects.count())
	}
}

// uncertain loses the answer to what it has committed, or commits nothing.
type uncertain struct {
	*store.DB
	commits bool
}

func (u uncertain) StartEvent(
	ctx context.Context, e store.Event, m store.Message, grace time.Time, by store.Actor,
) (store.StartedEvent, error) {
	if u.commits {
		if _, err := u.DB.StartEvent(ctx, e, m, grace, by); err != nil {
			return store.StartedEvent{}, err
		}
	}
	return store.StartedEvent{}, store.ErrUnavailable
}

func (u uncertain) SetEventThumbnail(ctx context.Context, cameraID, id, key string, by store.Actor) (string, error) {
	if u.commits {
		if _, err := u.DB.SetEventThumbnail(ctx, cameraID, id, key, by); err != nil {
			return "", err
		}
	}
	return "", store.ErrUnavailable
}

// TestUncertainCommit has the connection to the database break during the
// commit: a row that came has its picture, and of one that did not come
// nothing is left in the end.
func TestUncertainCommit(t *testing.T) {
	t.Parallel()
	for _, commits := range []bool{true, false} {
		w := newWorld(t)
		later := time.Now().Add(2 * thumbnailGrace)
		check := func(what string) {
			t.Helper()
			doomed, err := w.db.DoomedObjects(t.Context(), later, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range doomed { // as control/erasure does
				_ = w.objects.Delete(t.Context(), key)
			}
			events, err := w.db.Events(t.Context(), w.who["user"].UserID, store.EventFilter{}, store.Page{})
			if err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, e := range events {
				if e.ThumbnailKey == "" {
					continue
				}
				kept++
				if _, ok := w.objects.kept[e.ThumbnailKey]; !ok {
					t.Errorf("%s, commits %v: the row's picture is gone", what, commits)
				}
			}
			if w.objects.count() != kept || (kept == 1) != commits {
				t.Errorf("%s, commits %v: %d pictures in rows, %d kept", what, commits, kept, w.objects.count())
			}
		}
		w.cfg.Store = uncertain{w.db, commits}
		w.want("camera", "POST", "/events/motion/start", fields{"thumbnail": jpeg(9)}, 503, "unavailable")
		check("start")
		if !commits {
			w.cfg.Store = w.db
			e := w.begin(fields{})
			w.cfg.Store = uncertain{w.db, commits}
			w.want("camera", "PUT", "/events/"+e.ID+"/thumbnail", fields{"thumbnail": jpeg(9)}, 503, "unavailable")
		} else {
			w.want("camera", "PUT", "/events/"+w.ids("/events")[0]+"/thumbnail", fields{"thumbnail": jpeg(9)}, 503, "unavailable")
		}
		check("next picture")
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.begin(fields{})
	one := "/events/" + e.ID
	for _, who := range []string{"user", "camera", "client", "client2"} {
		w.want(who, "GET", one, nil, 200, "")
	}
	for _, who := range []string{"stranger", "camera2", "foreign-camera", "foreign-client"} {
		w.want(who, "GET", one, nil, 404, "not_found")
	}
	w.want("", "GET", one, nil, 401, "unauthenticated")
	w.want("stranger", "DELETE", one, nil, 404, "not_found")
	w.want("client", "DELETE", one, nil, 401, "unauthenticated")
	w.want("foreign-camera", "POST", one+"/end", nil, 404, "not_found")
	w.want("client", "POST", "/events/motion/start", fields{}, 403, "forbidden")
	w.want("client", "POST", one+"/end", nil, 403, "forbidden")
	w.want("user", "POST", "/events/motion/start", fields{}, 401, "unauthenticated")
	w.want("camera", "POST", "/events/motion/start", fields{"triggeredBy": "No Good"}, 422, "validation_failed")
	w.want("camera", "POST", "/events/motion/start", fields{"surprise": 1}, 422, "validation_failed")

	n := w.ids("/notifications?recipientDeviceId=" + w.who["client"].DeviceID)[0]
	note := "/notifications/" + n
	for _, who := range []string{"client2", "camera", "stranger", "foreign-client"} {
		w.want(who, "GET", note, nil, 404, "not_found")
		w.want(who, "PATCH", note, fields{"status": "read"}, 404, "not_found")
		w.want(who, "DELETE", note, nil, 404, "not_found")
	}
	w.want("client", "PATCH", note, fields{"status": "sent"}, 422, "validation_failed")
	w.want("client", "PATCH", note, fields{"status": "read"}, 200, "")
	w.want("client", "PATCH", note, fields{"status": "delivered"}, 200, "")
	var got Notification
	w.do("user", "GET", note, nil, &got)
	if got.Status != "read" {
		t.Errorf("notification %+v", got)
	}
	w.want("user", "POST", "/notifications/read", nil, 200, "")
	if unread := w.ids("/notifications?unread=true"); len(unread) != 0 {
		t.Errorf("unread %v", unread)
	}
	w.want("client", "DELETE", note, nil, 204, "")
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var made []string
	for range 5 {
		made = append([]string{w.begin(fields{}).ID}, made...)
		w.want("camera", "POST", "/events/motion/end", nil, 200, "")
	}
	var page struct {
		Items      []Event
		NextCursor string
	}
	var got []string
	for path := "/events?limit=2"; ; path = "/events?limit=2&cursor=" + page.NextCursor {
		page.NextCursor = ""
		if status, code := w.do("client", "GET", path, nil, &page); status != 200 {
			t.Fatalf("%d %s", status, code)
		}
		for _, e := range page.Items {
			got = append(got, e.ID)
		}
		if page.NextCursor == "" {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(made, " ") {
		t.Errorf("pages %v, want %v", got, made)
	}
	if ids := w.ids("/events?status=active"); len(ids) != 0 {
		t.Errorf("active %v", ids)
	}
	if ids := w.ids("/events?since=2099-01-01T00:00:00Z"); len(ids) != 0 {
		t.Errorf("of the future %v", ids)
	}
	w.want("user", "GET", "/events?cursor=nonsense", nil, 422, "invalid_cursor")
	w.want("user", "GET", "/events?status=over", nil, 422, "validation_failed")
	var none struct{ Items []Event }
	w.do("stranger", "GET", "/events?cameraDeviceId="+w.who["camera"].DeviceID, nil, &none)
	if len(none.Items) != 0 {
		t.Errorf("a stranger sees %v", none.Items)
	}
}

// stopsAfterEnd is a store whose server is stopped as soon as stale events have
// ended.
type stopsAfterEnd struct {
	Store
	stop func()
}

func (s stopsAfterEnd) EndStaleEvents(
	ctx context.Context, before, at time.Time, limit int, message func(store.Event) (store.Message, error),
) ([]store.Event, error) {
	ended, err := s.Store.EndStaleEvents(ctx, before, at, limit, message)
	if len(ended) > 0 {
		s.stop()
	}
	return ended, err
}

// TestStale ends an event that its camera renews no more. A stop right after
// that keeps nobody from hearing of it.
func TestStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Public = rest.Public{Local: "http://localhost:8080"}
	e := w.begin(fields{"thumbnail": jpeg(1000)})
	w.gateway.online[w.who["client"].DeviceID] = true
	at := time.Now()
	w.clock = func() time.Time { return at.Add(4 * time.Minute) }
	w.want("camera", "POST", "/events/motion/start", fields{}, 200, "") // it goes on
	w.clock = func() time.Time { return at.Add(8 * time.Minute) }
	w.tick(t.Context())
	if ids := w.ids("/events?status=active"); len(ids) != 1 {
		t.Fatalf("active %v: it was renewed four minutes ago", ids)
	}
	w.clock = func() time.Time { return at.Add(20 * time.Minute) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.cfg.Store = stopsAfterEnd{w.db, cancel}
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	got, err := w.db.Event(t.Context(), w.who["user"].UserID, e.ID)
	if err != nil || got.EndedAt.Sub(got.StartedAt) > 5*time.Minute {
		t.Errorf("event %+v, %v", got, err)
	}
	heard := w.gateway.take()
	if len(heard) != 1 || heard[0].event != EventEnded {
		t.Fatalf("heard %+v", heard)
	}
	// Nobody's request says where this server is.
	for _, url := range []string{heard[0].notice.URL, heard[0].notice.ThumbnailURL} {
		if !strings.HasPrefix(url, "http://localhost:8080/") {
			t.Errorf("%+v leads to %q", heard[0].notice, url)
		}
	}
}

// TestStates drives a camera's events by chance and compares them with a model
// of three lines: at most one is active, what has ended stays so.
func TestStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.who["camera"]
	rapid.Check(t, func(t *rapid.T) {
		// The world is shared: begin from nothing active.
		_, _ = w.End(context.Background(), p, "")
		active, ended := "", map[string]bool{}
		ctx := context.Background()
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				e, began, err := w.Start(ctx, p, Sighting{})
				if err != nil || began != (active == "") || (!began && e.ID != active) {
					t.Fatalf("start: %s %v %v, active is %q", e.ID, began, err, active)
				}
				active = e.ID
			},
			"end active": func(t *rapid.T) {
				e, err := w.End(ctx, p, "")
				if (err == nil) != (active != "") || (err == nil && e.ID != active) {
					t.Fatalf("end: %s %v, active is %q", e.ID, err, active)
				}
				if active != "" {
					ended[active], active = true, ""
				}
			},
			"end ended": func(t *rapid.T) {
				for id := range ended {
					if _, err := w.End(ctx, p, id); !errors.Is(err, ErrEnded) {
						t.Fatalf("end of an ended event: %v", err)
					}
					return
				}
			},
			"delete": func(t *rapid.T) {
				if active != "" {
					if err := w.Delete(ctx, w.who["user"], active); !errors.Is(err, ErrActive) {
						t.Fatalf("delete of an active event: %v", err)
					}
				}
				for id := range ended {
					if err := w.Delete(ctx, w.who["user"], id); err != nil {
						t.Fatal(err)
					}
					delete(ended, id)
					return
				}
			},
			"": func(t *rapid.T) {
				list, err := w.List(ctx, p, store.EventFilter{Status: store.EventActive}, store.Page{})
				if err != nil || len(list) > 1 || (len(list) == 1) != (active != "") {
					t.Fatalf("active: %v, %v, want %q", list, err, active)
				}
			},
		})
	})
}

// TestTwoStarts has one camera speak over two connections at once.
func TestTwoStarts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := openWorld(t, db)
		began := make(chan bool)
		for range 8 {
			go func() {
				_, b, err := w.Start(context.WithoutCancel(t.Context()), w.who["camera"], Sighting{})
				if err != nil {
					t.Error(err)
				}
				began <- b
			}()
		}
		n := 0
		for range 8 {
			if <-began {
				n++
			}
		}
		if n != 1 || len(w.pushes()) != 2 {
			t.Errorf("%d events, %d pushes", n, len(w.pushes()))
		}
	})
}
