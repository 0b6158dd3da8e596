package blobtest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/store/blob"
)

func sign(tb testing.TB, s blob.Store, key string, o blob.SignOptions) string {
	tb.Helper()
	before := time.Now()
	signed, expires, err := s.SignGet(tb.Context(), key, o)
	if err != nil {
		tb.Fatal(err)
	}
	if d := expires.Sub(before) - o.TTL; d < -2*time.Second || d > time.Minute {
		tb.Errorf("expires is %v off", d)
	}
	return signed
}

func (t test) signedURL() {
	s := t.New(t.T)()
	put(t, s, key, []byte("content"))
	put(t, s, "other", []byte("secret"))
	for _, name := range []string{"", `Garage "back" 1.webm`} {
		signed := sign(t, s, key, blob.SignOptions{TTL: time.Minute, Filename: name})
		if status, body := t.Get(t.T, s, http.MethodGet, signed); status != http.StatusOK || string(body) != "content" {
			t.Errorf("GET: %d %q", status, body)
		}
		for what, url := range tamper(t, signed) {
			if status, _ := t.Get(t.T, s, http.MethodGet, url); status/100 != 4 {
				t.Errorf("%s: status %d, want 4xx", what, status)
			}
		}
		for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPost} {
			if status, _ := t.Get(t.T, s, method, signed); status < 400 {
				t.Errorf("%s with a GET signature: status %d", method, status)
			}
		}
	}
	for _, o := range []blob.SignOptions{
		{}, {TTL: -time.Hour}, {TTL: time.Hour, Filename: strings.Repeat("x", 201)},
	} {
		if signed, _, err := s.SignGet(t.Context(), key, o); err == nil {
			t.Errorf("SignGet(%+v) = %s, want an error", o, signed)
		}
	}
	gone := sign(t, s, "gone", blob.SignOptions{TTL: time.Minute})
	if status, _ := t.Get(t.T, s, http.MethodGet, gone); status != http.StatusNotFound {
		t.Errorf("GET of no object: status %d, want 404", status)
	}
}

// tamper returns changed copies of a signed URL.
func tamper(tb testing.TB, signed string) map[string]string {
	tb.Helper()
	u, err := url.Parse(signed)
	if err != nil {
		tb.Fatal(err)
	}
	changed := map[string]string{}
	changed["another object"] = strings.Replace(signed, key, "other", 1)
	changed["no query"] = strings.TrimSuffix(signed, "?"+u.RawQuery)
	for name, values := range u.Query() {
		for what, value := range map[string]string{"": "", "1": values[0] + "1"} {
			query := u.Query()
			query.Set(name, value)
			c := *u
			c.RawQuery = query.Encode()
			changed[name+" set to "+what] = c.String()
		}
	}
	for _, name := range []string{"filename", "response-content-disposition", "response-content-type"} {
		query := u.Query()
		query.Add(name, "evil.exe")
		c := *u
		c.RawQuery = query.Encode()
		changed["added "+name] = c.String()
	}
	return changed
}

func (t test) signedURLExpires() {
	s := t.New(t.T)()
	put(t, s, key, []byte("content"))
	signed := sign(t, s, key, blob.SignOptions{TTL: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, _ := t.Get(t.T, s, http.MethodGet, signed); status == http.StatusForbidden {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the URL still works long after it expired")
		}
	}
}
