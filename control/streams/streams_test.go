package streams

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestRequestWakesTheCamera(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, "doorbell"))
	if s.Status != store.StreamRequested || s.Reason != "doorbell" || s.MediaProvider != "sfu" {
		t.Errorf("got %+v, want a requested stream over our SFU", s)
	}
	want := []hearing{{w.camera.DeviceID, EventRequested, s.ID, "requested"}}
	if got := w.gateway.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	if len(w.commands.sent) != 1 {
		t.Fatalf("%d commands, want 1", len(w.commands.sent))
	}
	cmd := w.commands.sent[0]
	var payload map[string]string
	if err := json.Unmarshal(cmd.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	wantPayload := map[string]string{"streamSessionId": s.ID, "requesterDeviceId": w.client.DeviceID}
	if cmd.CommandType != "start_stream" || cmd.TargetDeviceID != w.camera.DeviceID || !reflect.DeepEqual(payload, wantPayload) {
		t.Errorf("command %s to %s with %s, want start_stream to the camera", cmd.CommandType, cmd.TargetDeviceID, cmd.Payload)
	}
}

func TestSecondViewerJoinsWithoutACommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.streaming(t, w.client)
	w.gateway.take()
	w.commands.sent = nil

	joined := must[store.Stream](t)(w.Request(t.Context(), w.second, w.camera.DeviceID, ""))
	if joined.Status != store.StreamStreaming || joined.MediaSessionID != first.MediaSessionID || joined.StartedAt.IsZero() {
		t.Errorf("got %+v, want a started stream in media session %s", joined, first.MediaSessionID)
	}
	want := []hearing{
		{w.camera.DeviceID, EventStarted, joined.ID, "streaming"},
		{w.second.DeviceID, EventStarted, joined.ID, "streaming"},
	}
	if got := w.gateway.take(); !reflect.DeepEqual(got, want) || len(w.commands.sent) != 0 {
		t.Errorf("told %v with %d commands, want %v without one", got, len(w.commands.sent), want)
	}
}

func TestRequestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := storetest.User(t, w.db)
	strange := device(storetest.Client(t, w.db, stranger.ID))
	unlinked := device(storetest.Client(t, w.db, w.user.ID))
	link := must[store.Link](t)(w.db.ActiveLink(t.Context(), w.camera.DeviceID, unlinked.DeviceID))
	if err := w.db.RevokeLink(t.Context(), w.user.ID, link.ID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	mine := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	w.gateway.take()

	for _, tt := range []struct {
		name   string
		by     auth.Principal
		camera string
		want   error
	}{
		{"a camera asks", w.camera, w.camera.DeviceID, auth.ErrForbidden},
		{"a browser asks", w.browser, w.camera.DeviceID, auth.ErrForbidden},
		{"somebody else's camera", strange, w.camera.DeviceID, store.ErrNotFound},
		{"no such camera", w.client, storetest.ID(), store.ErrNotFound},
		{"a client is no camera", w.client, w.second.DeviceID, ErrNotCamera},
		{"link revoked", unlinked, w.camera.DeviceID, ErrNoActiveLink},
		{"open already", w.client, w.camera.DeviceID, ErrAlreadyOpen},
	} {
		_, err := w.Request(t.Context(), tt.by, tt.camera, "")
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if errors.Is(err, ErrAlreadyOpen) && (!strings.Contains(message(err), mine.ID) || !isCode(err, "stream_already_open")) {
			t.Errorf("%s: %q does not name stream %s", tt.name, message(err), mine.ID)
		}
	}
	if sent := w.gateway.take(); len(sent) != 0 || len(w.commands.sent) != 1 {
		t.Errorf("refusals told %v and sent %d commands", sent, len(w.commands.sent)-1)
	}
}

func message(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message
	}
	return ""
}

func isCode(err error, code string) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Code == code
}

// TestTransitions does everything to a stream in every state, as everybody.
func TestTransitions(t *testing.T) {
	t.Parallel()
	const (
		requested, streaming           = store.StreamRequested, store.StreamStreaming
		completed, cancelled, rejected = store.StreamCompleted, store.StreamCancelled, store.StreamFailed
	)
	accept := func(p func(*world) auth.Principal) func(*testing.T, *world, string) error {
		return func(t *testing.T, w *world, id string) error {
			t.Helper()
			_, err := w.Accept(t.Context(), p(w), id)
			return err
		}
	}
	end := func(p func(*world) auth.Principal) func(*testing.T, *world, string) error {
		return func(t *testing.T, w *world, id string) error {
			t.Helper()
			_, err := w.End(t.Context(), p(w), id, "")
			return err
		}
	}
	camera := func(w *world) auth.Principal { return w.camera }
	client := func(w *world) auth.Principal { return w.client }
	second := func(w *world) auth.Principal { return w.second }
	browser := func(w *world) auth.Principal { return w.browser }

	for _, tt := range []struct {
		name   string
		from   store.StreamStatus
		do     func(*testing.T, *world, string) error
		want   error
		to     store.StreamStatus
		reason string
	}{
		{"camera accepts", requested, accept(camera), nil, streaming, ""},
		{"requester accepts", requested, accept(client), auth.ErrForbidden, requested, ""},
		{"bystander accepts", requested, accept(second), store.ErrNotFound, requested, ""},
		{"camera accepts twice", streaming, accept(camera), ErrNotRequested, streaming, ""},
		{"camera accepts a completed one", completed, accept(camera), ErrNotRequested, completed, ReasonViewer},
		{"camera accepts a cancelled one", cancelled, accept(camera), ErrNotRequested, cancelled, ReasonViewer},
		{"camera accepts a failed one", rejected, accept(camera), ErrNotRequested, rejected, store.ReasonCameraUnavailable},
		{"camera declines", requested, end(camera), nil, cancelled, ReasonCamera},
		{"requester cancels", requested, end(client), nil, cancelled, ReasonViewer},
		{"user cancels", requested, end(browser), nil, cancelled, ReasonUser},
		{"bystander cancels", requested, end(second), store.ErrNotFound, requested, ""},
		{"camera ends", streaming, end(camera), nil, completed, ReasonCamera},
		{"requester ends", streaming, end(client), nil, completed, ReasonViewer},
		{"user ends", streaming, end(browser), nil, completed, ReasonUser},
		{"bystander ends", streaming, end(second), store.ErrNotFound, streaming, ""},
		{"end of a completed one", completed, end(client), ErrEnded, completed, ReasonViewer},
		{"end of a cancelled one", cancelled, end(camera), ErrEnded, cancelled, ReasonViewer},
		{"end of a failed one", rejected, end(browser), ErrEnded, rejected, store.ReasonCameraUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.bring(t, tt.from)
			w.gateway.take()
			w.media.take()
			if err := tt.do(t, w, id); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			w.wantStatus(t, id, tt.to, tt.reason)
			if told := w.gateway.take(); (len(told) != 0) != (tt.want == nil) {
				t.Errorf("told %v after %v", told, tt.want)
			}
			if calls := w.media.take(); (len(calls) != 0) != (tt.from == streaming && tt.to == completed) {
				t.Errorf("the SFU heard %v", calls)
			}
		})
	}
}

// bring makes a stream and brings it into a state.
func (w *world) bring(t *testing.T, to store.StreamStatus) string {
	t.Helper()
	s := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	switch to {
	case store.StreamRequested:
	case store.StreamStreaming, store.StreamCompleted:
		must[store.Stream](t)(w.Accept(t.Context(), w.camera, s.ID))
		if to == store.StreamCompleted {
			must[store.Stream](t)(w.End(t.Context(), w.client, s.ID, ""))
		}
	case store.StreamCancelled:
		must[store.Stream](t)(w.End(t.Context(), w.client, s.ID, ""))
	case store.StreamFailed:
		w.clock.advance(w.cfg.AcceptTimeout)
		if err := w.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s.ID
}

func TestAnotherCameraCannotAccept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := device(storetest.Camera(t, w.db, w.user.ID))
	s := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	if _, err := w.Accept(t.Context(), other, s.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want %v", err, store.ErrNotFound)
	}
}

func TestLastViewerEndsTheMediaSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.streaming(t, w.client), w.streaming(t, w.second)
	id := first.MediaSessionID
	w.gateway.take()

	must[store.Stream](t)(w.End(t.Context(), w.client, first.ID, ReasonStopped))
	want := []string{"close " + id + " " + first.ID + " " + ReasonStopped}
	if got := w.media.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("after the first one the SFU heard %v, want %v", got, want)
	}
	told := []hearing{
		{w.camera.DeviceID, EventEnded, first.ID, "completed"},
		{w.client.DeviceID, EventEnded, first.ID, "completed"},
	}
	if got := w.gateway.take(); !reflect.DeepEqual(got, told) {
		t.Errorf("told %v, want %v", got, told)
	}
	must[store.Stream](t)(w.End(t.Context(), w.camera, second.ID, ""))
	if got, want := w.media.take(), []string{"end " + id + " " + ReasonCamera}; !reflect.DeepEqual(got, want) {
		t.Errorf("after the last one the SFU heard %v, want %v", got, want)
	}
	if m := must[store.MediaSession](t)(w.db.MediaSession(t.Context(), id)); m.EndedAt.IsZero() {
		t.Error("the media session is still open")
	}
}

func TestContinuousMediaSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.OpenMedia(t.Context(), w.client); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("a client went live: %v", err)
	}
	m := must[store.MediaSession](t)(w.OpenMedia(t.Context(), w.camera))
	again := must[store.MediaSession](t)(w.OpenMedia(t.Context(), w.camera))
	if !m.Continuous || again.ID != m.ID {
		t.Errorf("got %+v and %+v, want one continuous media session", m, again)
	}

	s := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	if s.Status != store.StreamStreaming || s.MediaSessionID != m.ID {
		t.Errorf("got %+v, want a stream that joined %s", s, m.ID)
	}
	must[store.Stream](t)(w.End(t.Context(), w.client, s.ID, ""))
	if open := must[store.MediaSession](t)(w.db.MediaSession(t.Context(), m.ID)); !open.EndedAt.IsZero() {
		t.Error("the continuous media session ended with its last viewer")
	}

	s = must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	w.gateway.take()
	w.media.take()
	other := device(storetest.Camera(t, w.db, w.user.ID))
	if err := w.EndMedia(t.Context(), other, m.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another camera ended it: %v", err)
	}
	if err := w.EndMedia(t.Context(), w.camera, m.ID); err != nil {
		t.Fatal(err)
	}
	w.wantStatus(t, s.ID, store.StreamCompleted, ReasonCamera)
	if got, want := w.media.take(), []string{"end " + m.ID + " " + ReasonCamera}; !reflect.DeepEqual(got, want) {
		t.Errorf("the SFU heard %v, want %v", got, want)
	}
	if got := w.gateway.take(); len(got) != 2 || got[0].event != EventEnded || got[1].device != w.client.DeviceID {
		t.Errorf("told %v, want the end to both", got)
	}
	if err := w.EndMedia(t.Context(), w.camera, m.ID); !errors.Is(err, ErrMediaSessionEnded) {
		t.Errorf("ended twice: %v", err)
	}
}

// TestStreamsOfARevokedDevice holds that what the store ended is closed in the
// SFU, and told to both sides.
func TestStreamsOfARevokedDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.streaming(t, w.client), w.streaming(t, w.second)
	w.settle(t)
	w.gateway.take()
	if err := w.db.SetDeviceKey(t.Context(), w.user.ID, w.client.DeviceID, store.NewID(), store.Actor{}); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	w.wantStatus(t, first.ID, store.StreamCompleted, store.ReasonDeviceRevoked)
	w.wantStatus(t, second.ID, store.StreamStreaming, "")
	if got := w.gateway.take(); len(got) != 2 || got[0].event != EventEnded {
		t.Errorf("told %v, want the end to both", got)
	}
}
