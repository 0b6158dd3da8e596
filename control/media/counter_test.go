package media

import (
	"net/http"
	"strings"
	"testing"

	"github.com/securecam/securecam/control/fault"
)

// TestCounterOffer has a player's offer refused and answers what it is offered instead.
func TestCounterOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whip, whep := w.issued(t)
	var none error
	w.sfu.err, w.sfu.counters = fault.New(fault.Unprocessable, "unsupported_offer", ""), &none
	post := call{method: http.MethodPost, url: whep.URL, token: whep.Token, contentType: typeSDP, body: "v=0"}
	got := w.do(t, post)
	if got.status != http.StatusNotAcceptable || got.body != "v=0 answer" || got.header.Get("ETag") != "" ||
		got.header.Get("Content-Type") != `application/sdp; valid-until="Fri, 02 Jan 2026 03:04:05 GMT"` {
		t.Fatalf("POST: %d %v %q", got.status, got.header, got.body)
	}
	session := got.header.Get("Location")
	w.sfu.take()
	patch := call{method: http.MethodPatch, url: session, token: whep.Token, contentType: typeSDP, body: "v=0 mine"}
	if got := w.do(t, patch); got.status != http.StatusNoContent || got.body != "" {
		t.Errorf("PATCH: %d %q", got.status, got.body)
	}
	if calls := w.sfu.take(); len(calls) != 1 || !strings.HasSuffix(calls[0], " v=0 mine") || !strings.HasPrefix(calls[0], "accept counter-") {
		t.Errorf("the SFU heard %q", calls)
	}
	patch.body = ""
	if got := w.do(t, patch); got.status != http.StatusBadRequest {
		t.Errorf("PATCH without a body: %d", got.status)
	}
	if got := w.do(t, call{method: http.MethodPost, url: whip.URL, token: whip.Token, contentType: typeSDP, body: "v=0"}); got.status != 422 {
		t.Errorf("a publisher is answered %d, want 422: WHIP has no counter-offers", got.status)
	}
	for want, err := range map[int]error{
		409: fault.New(fault.Conflict, "no_publisher", ""), 422: fault.New(fault.Unavailable, "busy", ""),
	} {
		w.sfu.counters = &err
		if got := w.do(t, post); got.status != want {
			t.Errorf("counter-offer failed with %v: %d, want %d", err, got.status, want)
		}
	}
}
