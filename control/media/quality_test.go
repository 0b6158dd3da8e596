package media

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// TestQuality says what a viewer wants: with its offer, and later.
func TestQuality(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whip, whep := w.issued(t)
	post := func(query string) answer {
		return w.do(t, call{method: http.MethodPost, url: whep.URL + query, token: whep.Token, contentType: typeSDP, body: "v=0"})
	}
	got := post("?maxHeight=360")
	if got.status != http.StatusCreated {
		t.Fatalf("POST: %d %s", got.status, got.body)
	}
	play := "play " + whip.MediaSessionID + " " + w.stream.ID + " 360p v=0"
	if calls := w.sfu.take(); !reflect.DeepEqual(calls, []string{play}) {
		t.Errorf("the SFU heard %q", calls)
	}
	for _, query := range []string{"?maxHeight=tall", "?maxHeight=-1", "?maxHeight=99999999", "?live=perhaps"} {
		if bad := post(query); bad.status != http.StatusBadRequest || problemOf(t, query, bad) != "invalid_quality" {
			t.Errorf("POST %s: %d", query, bad.status)
		}
	}
	if calls := w.sfu.take(); len(calls) != 0 {
		t.Errorf("the SFU heard %q of what was refused", calls)
	}
	location := got.header.Get("Location")
	patch := func(c Credentials, url, body string) answer {
		return w.do(t, call{method: http.MethodPatch, url: url, token: c.Token, contentType: typeJSON, body: body})
	}
	if ok := patch(whep, location, `{"rid":"h","paused":true,"maxBitrate":5,"spatialId":0}`); ok.status != http.StatusNoContent {
		t.Errorf("PATCH: %d %s", ok.status, ok.body)
	}
	if calls := w.sfu.take(); !reflect.DeepEqual(calls, []string{"quality whep-b 0 h true"}) {
		t.Errorf("the SFU heard %q", calls)
	}
	for _, body := range []string{
		`{`, `[]`, `{"maxHeight":-1}`, `{"maxHeight":1.5}`, `{"spatialId":9}`, `{"temporalId":-1}`, `{} {}`, `{"height":1}`,
		`{"rid":"` + strings.Repeat("x", 33) + `"}`, `{"rid":"` + strings.Repeat("x", maxQualityBody) + `"}`,
	} {
		if bad := patch(whep, location, body); bad.status != http.StatusBadRequest || problemOf(t, body, bad) != "invalid_quality" {
			t.Errorf("PATCH %s: %d %s", body, bad.status, bad.body)
		}
	}
	if got := patch(whip, w.openSession(t, whip), `{}`); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("PATCH of a camera's session: %d", got.status)
	}
	layers := w.do(t, call{
		method: http.MethodGet, url: location, token: whep.Token, header: http.Header{"Accept": {"application/json"}},
	})
	if layers.status != http.StatusOK || !strings.HasPrefix(layers.body, `{"layers":[{"rid":"`+whip.MediaSessionID+`","active":true`) {
		t.Errorf("GET: %d %s", layers.status, layers.body)
	}
	if plain := w.do(t, call{method: http.MethodGet, url: location, token: whep.Token}); plain.status != http.StatusNoContent {
		t.Errorf("GET without Accept: %d", plain.status)
	}
}
