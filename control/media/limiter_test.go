package media

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	l := newLimiter(1, 3)
	at := time.Unix(1000, 0)
	for i := range 3 {
		if !l.allow("a", at) {
			t.Fatalf("request %d refused", i)
		}
	}
	if l.allow("a", at) || !l.allow("b", at) || !l.allow("a", at.Add(time.Second)) {
		t.Error("one device's requests are not limited for themselves")
	}
	for i := range 2 * maxLimits {
		l.allow(fmt.Sprint(i), at)
	}
	if len(l.by) > maxLimits {
		t.Errorf("%d devices remembered", len(l.by))
	}
}

// TestFloods asks for sessions, and about one, until that is too often; a while later it is answered again.
func TestFloods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pass(0)
	_, whep := w.issued(t)
	session := w.openSession(t, whep)
	for name, c := range map[string]call{
		"POST":   {method: http.MethodPost, url: whep.URL, token: whep.Token, contentType: typeSDP, body: "v=0"},
		"DELETE": {method: http.MethodDelete, url: session + "x", token: whep.Token},
	} {
		got := w.do(t, c)
		for i := 0; i < 300 && got.status != http.StatusTooManyRequests; i++ {
			got = w.do(t, c)
		}
		if code := problemOf(t, name, got); got.status != 429 || code != "too_many_requests" || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s %v, want 429 with Retry-After", name, got.status, code, got.header)
		}
		if st := w.Stats(); name == "POST" && st.RefusedOffers != 1 || name == "DELETE" && st.RefusedChanges != 1 {
			t.Errorf("%s: counted %+v", name, st)
		}
		w.pass(2 * time.Second)
		if got := w.do(t, c); got.status == 429 {
			t.Errorf("%s: still refused", name)
		}
	}
}
