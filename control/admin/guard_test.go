package admin

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

func TestGuard(t *testing.T) {
	t.Parallel()
	const own = "https://cam.example"
	good := basic("root", "correct horse: battery")
	g := newGuard("root", "correct horse: battery", time.Now)
	for i, test := range []struct {
		visit
		want error
	}{
		{visit{method: "GET", authorization: good}, nil},
		{visit{method: "HEAD", authorization: good, origin: "https://evil.example"}, nil}, // reads nothing without CORS
		{visit{method: "GET"}, errNoPassword},
		{visit{method: "GET", authorization: basic("root", "correct horse")}, errNoPassword},
		{visit{method: "GET", authorization: basic("admin", "correct horse: battery")}, errNoPassword},
		{visit{method: "GET", authorization: basic("", "")}, errNoPassword},
		{visit{method: "GET", authorization: "Bearer " + good[6:]}, errNoPassword},
		{visit{method: "GET", authorization: "Basic %%%"}, errNoPassword},
		{visit{method: "GET", authorization: "Basic"}, errNoPassword},
		{visit{method: "POST", authorization: good, own: own}, errForeign},
		{visit{method: "POST", authorization: good, own: own, marked: true}, nil}, // a program
		{visit{method: "DELETE", authorization: good, own: own, origin: own, marked: true}, nil},
		{visit{method: "POST", authorization: good, own: own, origin: own}, errForeign},
		{visit{method: "POST", authorization: good, own: own, origin: "https://evil.example", marked: true}, errForeign},
		{visit{method: "POST", authorization: good, own: own, origin: "null", marked: true}, errForeign},
		{visit{method: "POST", own: own, origin: own, marked: true}, errNoPassword},
	} {
		v := test.visit
		v.from = fmt.Sprint(i)
		if err := g.check(v); !errors.Is(err, test.want) {
			t.Errorf("%+v: got %v, want %v", v, err, test.want)
		}
	}
}

func TestGuardCountsWrongPasswords(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	g := newGuard("root", "correct horse battery", func() time.Time { return now })
	visitOf := func(ip, password string) error {
		return g.check(visit{method: http.MethodGet, authorization: basic("root", password), from: ip})
	}
	for range maxFailures {
		if err := visitOf("a", "wrong"); !errors.Is(err, errNoPassword) {
			t.Fatal(err)
		}
	}
	for _, password := range []string{"wrong", "correct horse battery"} {
		if err := visitOf("a", password); !errors.Is(err, errTooMany) {
			t.Errorf("after %d wrong passwords: %v", maxFailures, err)
		}
	}
	if err := visitOf("b", "correct horse battery"); err != nil {
		t.Errorf("another address: %v", err)
	}
	for range 3 * maxFailures { // what has no password yet is no attempt
		if err := g.check(visit{method: http.MethodGet, from: "c"}); !errors.Is(err, errNoPassword) {
			t.Fatal(err)
		}
	}
	now = now.Add(failureWindow)
	if err := visitOf("a", "correct horse battery"); err != nil {
		t.Errorf("after the window: %v", err)
	}
	for i := range 2 * maxAddresses {
		_ = visitOf(fmt.Sprint(i), "wrong") // only counted
	}
	if n := len(g.failed); n > maxAddresses {
		t.Errorf("%d addresses are remembered, at most %d may be", n, maxAddresses)
	}
}
