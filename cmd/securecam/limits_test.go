package main

import (
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// TestLimitsAreExactAcrossProcesses sends requests to two processes that share
// a database and a bus, from many connections at once.
func TestLimitsAreExactAcrossProcesses(t *testing.T) {
	t.Parallel()
	// A day's windows: the test fits into one, or is unlucky at midnight.
	one, two := startCluster(t, "--rate-limits=auth=20,global=0", "--rate-limit-window-seconds=86400",
		"--login-attempts=5", "--login-window-seconds=86400")
	processes := []string{one.url, two.url}
	user := signUp(t, one.url, uuid.NewString()+"@example.org") // one of the twenty
	everywhere := func(n int, path string, body any) map[int]int {
		var (
			wait sync.WaitGroup
			mu   sync.Mutex
			got  = map[int]int{}
		)
		clients := make([]*apiClient, n)
		for i := range clients {
			clients[i] = newBrowser(t, processes[i%2])
		}
		for _, c := range clients {
			wait.Go(func() {
				status, _ := c.raw("POST", path, body)
				mu.Lock()
				defer mu.Unlock()
				got[status]++
			})
		}
		wait.Wait()
		return got
	}
	// Ten wrong passwords: five are looked at.
	var session struct {
		User struct {
			Email string `json:"email"`
		} `json:"user"`
	}
	user.must(http.StatusOK, "GET", "/api/auth/get-session", nil, &session)
	wrong := map[string]string{"email": session.User.Email, "password": "wrong horse battery"}
	if got := everywhere(10, "/api/auth/sign-in/email", wrong); got[401] != 5 || got[429] != 5 {
		t.Errorf("of ten wrong passwords got %v, want 5 times 401 and 5 times 429", got)
	}
	// Nine of the twenty requests are left.
	if got := everywhere(30, "/api/auth/sign-out", struct{}{}); got[200] != 9 || got[429] != 21 {
		t.Errorf("of thirty requests got %v, want 9 times 200 and 21 times 429", got)
	}
	if one.url == two.url {
		t.Fatal("there is one process only")
	}
	// Reading goes on.
	user.at(two).must(http.StatusOK, "GET", "/api/auth/get-session", nil, nil)
}
