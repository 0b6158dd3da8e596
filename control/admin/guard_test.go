package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/securecam/securecam/control/fault"
)

func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

func TestGuard(t *testing.T) {
	t.Parallel()
	const own = "https://cam.example"
	good := basic("root", "correct horse: battery")
	g := newGuard("root", "correct horse: battery", &counter{n: map[string]int{}})
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
		if err := g.check(t.Context(), v); !errors.Is(err, test.want) {
			t.Errorf("%+v: got %v, want %v", v, err, test.want)
		}
	}
}

// counter counts attempts, for any number of guards.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) Take(_ context.Context, kind, key string) (func(context.Context), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[kind+key]++
	return func(context.Context) {}, c.judge(kind + key)
}

func (c *counter) Check(_ context.Context, kind, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.judge(kind + key)
}

func (c *counter) judge(key string) error {
	if c.n[key] > MaxAttempts {
		return fault.New(fault.TooMany, "rate_limited", "").After(time.Minute)
	}
	return nil
}

// TestGuardCountsWrongPasswords has two processes count together.
func TestGuardCountsWrongPasswords(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery"
	together := &counter{n: map[string]int{}}
	guards := []*guard{newGuard("root", password, together), newGuard("root", password, together)}
	visitOf := func(i int, ip, password string) error {
		return guards[i%2].check(t.Context(), visit{method: http.MethodGet, authorization: basic("root", password), from: ip})
	}
	for i := range MaxAttempts {
		if err := visitOf(i, "a", "wrong"); !errors.Is(err, errNoPassword) {
			t.Fatal(err)
		}
	}
	for range 3 * MaxAttempts { // neither what is right nor what has no password yet is an attempt
		if err := visitOf(0, "a", password); err != nil {
			t.Fatal(err)
		}
		if err := guards[0].check(t.Context(), visit{method: http.MethodGet, from: "a"}); !errors.Is(err, errNoPassword) {
			t.Fatal(err)
		}
	}
	for i, tried := range []string{"wrong", "wrong", password, password} {
		err := visitOf(i, "a", tried)
		var refused *fault.Error
		if !errors.Is(err, errTooMany) || !errors.As(err, &refused) || refused.RetryAfter != time.Minute {
			t.Errorf("after too many wrong passwords: %v", err)
		}
	}
	if err := visitOf(0, "b", password); err != nil {
		t.Errorf("another address: %v", err)
	}
}
