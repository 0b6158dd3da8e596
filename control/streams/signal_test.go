package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func (w *world) say(t *testing.T, p auth.Principal, data string) (any, error) {
	t.Helper()
	return w.gateway.signal(t.Context(), p, json.RawMessage(data))
}

func TestSignalsGoBetweenTheTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	w.gateway.take()
	for _, p := range []auth.Principal{w.client, w.camera} {
		other := w.camera.DeviceID
		if p.DeviceID == other {
			other = w.client.DeviceID
		}
		for _, rest := range []string{"", `,"toDeviceId":"` + other + `"`, `,"fromDeviceId":"somebody else"`} {
			got, err := w.say(t, p, fmt.Sprintf(`{"streamSessionId":%q,"signal":{"type":"offer"}%s}`, st.ID, rest))
			if err != nil || fmt.Sprint(got) != "map[delivered:true]" {
				t.Fatalf("got %v, %v", got, err)
			}
			want := hearing{other, eventSignal, `"` + st.ID + `"`, `"` + p.DeviceID + `"`}
			if heard := w.gateway.take(); len(heard) != 1 || heard[0] != want {
				t.Errorf("heard %v, want %v", heard, want)
			}
		}
	}
	w.gateway.away = map[string]bool{w.camera.DeviceID: true}
	if got, err := w.say(t, w.client, `{"streamSessionId":"`+st.ID+`"}`); err != nil || fmt.Sprint(got) != "map[delivered:false]" {
		t.Errorf("to a device that is away: %v, %v", got, err)
	}
}

func TestSignalsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.streaming(t, w.client)
	ended := w.streaming(t, w.second)
	must[store.Stream](t)(w.End(t.Context(), w.second, ended.ID, ""))
	foreign := storetest.User(t, w.db)
	stranger := device(storetest.Client(t, w.db, foreign.ID))
	w.gateway.take()
	for name, tt := range map[string]struct {
		who  auth.Principal
		data string
		want error
	}{
		"a bystander":   {w.second, `{"streamSessionId":"` + st.ID + `"}`, store.ErrNotFound},
		"a stranger":    {stranger, `{"streamSessionId":"` + st.ID + `"}`, store.ErrNotFound},
		"to a third":    {w.client, `{"streamSessionId":"` + st.ID + `","toDeviceId":"` + w.second.DeviceID + `"}`, store.ErrNotFound},
		"to itself":     {w.client, `{"streamSessionId":"` + st.ID + `","toDeviceId":"` + w.client.DeviceID + `"}`, store.ErrNotFound},
		"no stream":     {w.client, `{"streamSessionId":"none"}`, store.ErrNotFound},
		"an ended one":  {w.second, `{"streamSessionId":"` + ended.ID + `"}`, ErrEnded},
		"no id":         {w.client, `{"signal":{}}`, errBadSignal},
		"wrong type":    {w.client, `{"streamSessionId":7}`, errBadSignal},
		"wrong address": {w.client, `{"streamSessionId":"` + st.ID + `","toDeviceId":[]}`, errBadSignal},
		"no data":       {w.client, ``, errBadSignal},
		"escaped": {
			w.client, `{"streamSessionId":"` + st.ID + `","sdp":"` + strings.Repeat("<", maxSignal-100) + `"}`,
			errLongSignal,
		},
	} {
		if _, err := w.say(t, tt.who, tt.data); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	if heard := w.gateway.take(); len(heard) != 0 {
		t.Errorf("passed on: %v", heard)
	}
}

// TestPeerToPeer runs a stream whose media goes past this server: it lives
// while its devices are connected, and dies with them.
func TestPeerToPeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gateway.away = map[string]bool{}
	w.Service = w.node(w.db, "", PeerToPeer{w.gateway})
	first, second := w.streaming(t, w.client), w.streaming(t, w.second)
	if first.MediaProvider != ProviderP2P || second.Status != store.StreamStreaming {
		t.Errorf("streams %+v, %+v", first, second)
	}
	if _, err := w.OpenMedia(t.Context(), w.camera); !errors.Is(err, ErrNotInP2P) {
		t.Errorf("went live with %v", err)
	}
	round := func() {
		t.Helper()
		if err := w.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		w.clock.advance(w.cfg.PublisherTimeout)
		round()
	}
	w.wantStatus(t, first.ID, store.StreamStreaming, "")
	w.gateway.away[w.client.DeviceID] = true
	w.clock.advance(w.cfg.ViewerTimeout)
	round()
	w.wantStatus(t, first.ID, store.StreamCompleted, ReasonViewerLeft)
	w.wantStatus(t, second.ID, store.StreamStreaming, "")
	w.gateway.away[w.camera.DeviceID] = true
	w.clock.advance(w.cfg.PublisherTimeout)
	round()
	w.wantStatus(t, second.ID, store.StreamFailed, store.ReasonCameraLost)
}

// TestSignalLimit holds that the operator says how many signals there may be.
func TestSignalLimit(t *testing.T) {
	t.Parallel()
	for chosen, want := range map[int]gateway.Limit{
		0:                 {Bytes: maxSignal, PerSecond: 20, Burst: 100},
		7:                 {Bytes: maxSignal, PerSecond: 7, Burst: 35},
		gateway.AnyNumber: {Bytes: maxSignal, PerSecond: -1, Burst: -5}, // which the gateway takes for none
	} {
		g := &fakeGateway{t: t}
		New(Config{Gateway: g, SignalsPerSecond: chosen})
		if g.signalLimit != want {
			t.Errorf("%d a second: %+v, want %+v", chosen, g.signalLimit, want)
		}
	}
}
