package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// crowdPatience is how long a busy machine may take to answer all of them.
const crowdPatience = 5 * time.Minute

// registration is how one of many sign-ups was answered.
type registration struct {
	email      string
	status     int
	code       string
	retryAfter string
	cookies    []*http.Cookie
}

// registrants are people who all sign up at the same moment, each over a connection
// and from a network of their own. So many open files are more than what a shell
// is given at first: Go has a process ask for as many as it may have, the test's
// and the server's.
type registrants struct {
	t    *testing.T
	base string
}

// send makes a request over a connection of its own. An http.Client would keep
// two more goroutines for each.
func (c registrants) send(request *http.Request) (*http.Response, []byte, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(c.t.Context(), "tcp", request.URL.Host)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := errors.Join(conn.SetDeadline(time.Now().Add(crowdPatience)), request.Write(conn)); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), request)
	if err != nil {
		return nil, nil, err
	}
	answer, err := io.ReadAll(response.Body)
	return response, answer, errors.Join(err, response.Body.Close())
}

// fromNetwork has a request come from the network of the nth of them.
func fromNetwork(request *http.Request, nth int) {
	request.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8:%x:%x::1", nth>>16, nth&0xffff))
}

// signUp is the request of the nth of them.
func (c registrants) signUp(nth int, email string) (r registration, err error) {
	body, err := json.Marshal(map[string]string{"name": "Caller " + strconv.Itoa(nth), "email": email, "password": "correct horse battery"})
	if err != nil {
		return r, err
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/api/auth/sign-up/email", bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", c.base)
	fromNetwork(request, nth)
	response, answer, err := c.send(request)
	if err != nil {
		return r, err
	}
	return registration{
		email: email, status: response.StatusCode, code: codeOf(answer),
		retryAfter: response.Header.Get("Retry-After"), cookies: response.Cookies(),
	}, nil
}

// signUpAtOnce has n sign up, two for each address.
func (c registrants) signUpAtOnce(n int) []registration {
	c.t.Helper()
	var wait sync.WaitGroup
	answers, begin := make([]registration, n), make(chan struct{})
	for i := range n {
		wait.Go(func() {
			<-begin
			var err error
			if answers[i], err = c.signUp(i, fmt.Sprintf("crowd-%d@example.org", i/2)); err != nil {
				c.t.Errorf("the sign-up of %d was not answered: %v", i, err)
			}
		})
	}
	close(begin)
	wait.Wait()
	return answers
}

// watch has a bystander ask for something that costs no password, as long as
// the crowd is there, and returns how often: each time it must be answered. A
// fifth of what its address may ask for is enough to notice when it is not.
func watch(t *testing.T, bystander *apiClient, stop <-chan struct{}) (answered int64) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ; answered++ {
		if status, body := bystander.raw(http.MethodGet, "/devices", nil); status != http.StatusOK {
			t.Errorf("in the crowd, a bystander is answered %d %s", status, body)
			return answered
		}
		select {
		case <-stop:
			return answered + 1
		case <-tick.C:
		}
	}
}

// TestTenThousandRegistrations has 10,000 people sign up at once, two of them
// with each address, at a server with its ordinary limits. Each is told clearly
// how it went; whoever is told that there is an account has one and is signed in
// to it, there is one for an address at most and none that nobody was told of;
// and others go on as before.
func TestTenThousandRegistrations(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		register(t, "sqlite:"+t.TempDir()+"/securecam.db", 10_000)
	})
	// Afterwards, since each keeps the machine busy; most are turned away before
	// they come to a database, so this one need not see as many.
	t.Run("postgres", func(t *testing.T) {
		register(t, storetest.PostgresURL(t), 1_000)
	})
}

func register(t *testing.T, databaseURL string, people int) {
	t.Helper()
	base := startProcess(t, t.TempDir(), "--database-url="+databaseURL, "--trusted-proxies=127.0.0.0/8").url
	bystander := signUp(t, base, "bystander@example.org")
	bystander.http.Timeout = crowdPatience
	stop := make(chan struct{})
	var watching sync.WaitGroup
	var answered atomic.Int64
	watching.Go(func() { answered.Store(watch(t, bystander, stop)) })
	c := registrants{t, base}
	answers := c.signUpAtOnce(people)
	close(stop)
	watching.Wait()

	told, accepted, unsure := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, r := range answers {
		told[fmt.Sprintf("%d %s", r.status, r.code)]++
		switch r.status {
		case http.StatusOK:
			accepted[r.email]++
		case http.StatusUnprocessableEntity:
			if r.code != "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL" {
				t.Errorf("%s is refused with %q", r.email, r.code)
			}
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			unsure[r.email] = unsure[r.email] || r.status == http.StatusServiceUnavailable
			if seconds, err := strconv.Atoi(r.retryAfter); err != nil || seconds < 1 || r.code == "" {
				t.Errorf("%s is told to come again after %q: %d %q", r.email, r.retryAfter, r.status, r.code)
			}
		default:
			t.Errorf("%s is answered %d %q", r.email, r.status, r.code)
		}
	}
	t.Logf("answered: %v; a bystander meanwhile: %d times", told, answered.Load())
	if len(accepted) == 0 || answered.Load() == 0 {
		t.Error("nobody got through")
	}
	checkAccounts(t, databaseURL, accepted, unsure)
	checkSessions(t, c, answers)
	signUp(t, base, "afterwards@example.org").must(http.StatusOK, "GET", "/ops/ready", nil, nil)
}

// checkAccounts compares the accounts that there are with what people were told.
func checkAccounts(t *testing.T, databaseURL string, accepted map[string]int, unsure map[string]bool) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: databaseURL})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	users, err := db.AllUsers(t.Context(), "crowd-", store.Page{Limit: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	accounts := map[string]int{}
	for _, u := range users {
		accounts[u.Email]++
		if accounts[u.Email] > 1 || accepted[u.Email] == 0 && !unsure[u.Email] {
			t.Errorf("%s has %d accounts, of which %d were told", u.Email, accounts[u.Email], accepted[u.Email])
		}
	}
	for email, n := range accepted {
		if n > 1 || accounts[email] == 0 {
			t.Errorf("%s: %d were told of an account, and there are %d", email, n, accounts[email])
		}
	}
}

// checkSessions holds that whoever was let in is signed in to the own account.
func checkSessions(t *testing.T, c registrants, answers []registration) {
	t.Helper()
	for i, r := range answers {
		if r.status != http.StatusOK {
			continue
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/api/auth/get-session", nil)
		if err != nil {
			t.Fatal(err)
		}
		fromNetwork(request, i)
		for _, cookie := range r.cookies {
			request.AddCookie(cookie)
		}
		_, answer, err := c.send(request)
		if err != nil {
			t.Fatal(err)
		}
		var me struct{ User struct{ Name, Email string } }
		decode(t, answer, &me)
		if me.User.Email != r.email || me.User.Name != "Caller "+strconv.Itoa(i) {
			t.Errorf("%s is signed in as %+v", r.email, me.User)
		}
	}
}
