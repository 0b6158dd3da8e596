package streams

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/securecam/securecam/store"
)

// absent is a gateway to which nobody is connected.
type absent struct{ *fakeGateway }

func (absent) Send(context.Context, string, string, any) (bool, error) { return false, nil }

// fakeNotifier keeps what was queued, once for each key and recipient.
type fakeNotifier struct {
	mu   sync.Mutex // guards sent
	sent []string
}

func (n *fakeNotifier) add(s string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.sent, s) {
		n.sent = append(n.sent, s)
	}
	return nil
}

func (n *fakeNotifier) Push(_ context.Context, _, device, event, key string, data any) error {
	return n.add("push " + event + " " + device + " " + key + " " + data.(Stream).ID)
}

func (n *fakeNotifier) Webhook(_ context.Context, user, event, key string, _ any) error {
	return n.add("webhook " + event + " " + user + " " + key)
}

// TestNotifier has a stream between two devices of which nobody is there.
func TestNotifier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := &fakeNotifier{}
	w.cfg.Notifier, w.gateway.t = n, t
	connected := w.Service.gateway
	w.Service.gateway = absent{w.gateway}
	st := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	must[store.Stream](t)(w.Accept(t.Context(), w.camera, st.ID))
	must[store.Stream](t)(w.End(t.Context(), w.client, st.ID, ""))
	want := []string{
		"push stream:requested " + w.camera.DeviceID + " " + st.ID + " stream:requested " + st.ID,
		"webhook stream:requested " + w.user.ID + " " + st.ID + " stream:requested",
		"webhook stream:started " + w.user.ID + " " + st.ID + " stream:started", // no reason to wake a device
		"push stream:ended " + w.camera.DeviceID + " " + st.ID + " stream:ended " + st.ID,
		"push stream:ended " + w.client.DeviceID + " " + st.ID + " stream:ended " + st.ID,
		"webhook stream:ended " + w.user.ID + " " + st.ID + " stream:ended",
	}
	if !slices.Equal(n.sent, want) {
		t.Errorf("queued\n%q, want\n%q", n.sent, want)
	}
	// Who is connected needs no push.
	n.sent = nil
	w.Service.gateway = connected
	st = must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	if want := []string{"webhook stream:requested " + w.user.ID + " " + st.ID + " stream:requested"}; !slices.Equal(n.sent, want) {
		t.Errorf("queued %q, want %q", n.sent, want)
	}
}
