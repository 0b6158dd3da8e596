package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// adminQueries are what the administrator's operations need beside a path.
var adminQueries = map[string]string{"DELETE /admin/api/objects": "?key=nothing/like/that"}

// adminVisit is a request to the administrator's part.
type adminVisit struct {
	username, password string
	origin             string
	marked             bool
}

// TestAdminRoutes goes through every route below /admin: without a password,
// with wrong ones, with a user's session, from other pages, and with ids that
// are nobody's or none.
func TestAdminRoutes(t *testing.T) {
	t.Parallel()
	app := startApp(t, adminSettings("--rate-limits=off", "--trusted-proxies=127.0.0.0/8")...)
	user := signUp(t, app.url, "user@example.org")
	camera, _ := user.register("camera")
	doc, _ := readOpenAPI(t, app.url)
	routes := []string{"GET /admin", "GET /admin/page/admin.js", "GET /admin/page/admin.css", "GET /admin/pprof/"}
	for path, operations := range doc.Paths {
		for method := range operations {
			if strings.HasPrefix(path, "/admin/") {
				routes = append(routes, strings.ToUpper(method)+" "+path)
			}
		}
	}
	if len(routes) < 20 {
		t.Fatalf("only %d routes", len(routes))
	}
	own := adminVisit{username: "root", password: adminPassword, origin: app.url, marked: true}
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		send := func(v adminVisit, target string) (int, string, http.Header) {
			return visitAdmin(t, app.url, v, method, target)
		}
		target := pathParameter.ReplaceAllString(strings.Replace(path, "{queue}", "pushes", 1), uuid.NewString()) + adminQueries[route]
		for what, v := range map[string]adminVisit{
			"no password": {origin: app.url, marked: true}, "a wrong password": {"root", "correct horse", app.url, true},
			"a wrong name": {"admin", adminPassword, app.url, true}, "a user's": {"user@example.org", "correct horse battery", app.url, true},
		} {
			status, body, header := send(v, target)
			if status != http.StatusUnauthorized || codeOf([]byte(body)) != "unauthenticated" ||
				!strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic") {
				t.Errorf("%s with %s: %d %s", route, what, status, body)
			}
		}
		for _, c := range []*apiClient{user, camera} {
			// From one address: a device's token is a wrong password, of which there are too many soon.
			if status, body := c.raw(method, target, nil); status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
				t.Errorf("%s of a user: %d %s", route, status, body)
			}
		}
		if method != http.MethodGet {
			for what, v := range map[string]adminVisit{
				"another origin":         {"root", adminPassword, "https://evil.example", true},
				"no origin that is told": {"root", adminPassword, "null", true},
				"a form":                 {"root", adminPassword, app.url, false},
				"a foreign form":         {"root", adminPassword, "https://evil.example", false},
			} {
				if status, body, _ := send(v, target); status != http.StatusForbidden || codeOf([]byte(body)) != "invalid_origin" {
					t.Errorf("%s from %s: %d %s", route, what, status, body)
				}
			}
		}
		knock(t, route, path, target, own, send)
	}
	// Nothing happened to the user in all that.
	user.must(http.StatusOK, "GET", "/devices", nil, nil)
}

// knock goes in as the administrator, with ids that are nobody's, and then with
// what is no id.
func knock(
	t *testing.T, route, path, target string, own adminVisit, send func(adminVisit, string) (int, string, http.Header),
) {
	t.Helper()
	if strings.Contains(path, "{profile}") {
		if status, body, _ := send(own, "/admin/pprof/goroutine"); status != http.StatusOK || body == "" {
			t.Errorf("a profile: %d %s", status, body)
		}
	}
	status, body, header := send(own, target)
	switch {
	case strings.Contains(path, "{") && !strings.HasSuffix(path, "{queue}"), adminQueries[route] != "":
		if status != http.StatusNotFound || codeOf([]byte(body)) == "" {
			t.Errorf("%s of nobody's: %d %s", route, status, body)
		}
	case status != http.StatusOK:
		t.Errorf("%s: %d %s", route, status, body)
	}
	if header.Get("Cache-Control") != "no-store" && status == http.StatusOK {
		t.Errorf("%s may be cached: %q", route, header.Get("Cache-Control"))
	}
	if !strings.Contains(path, "{") {
		return
	}
	for _, id := range []string{
		"..", "%2e%2e%2fsecrets.env", "%00", "%ff", "'%20OR%201=1", strings.Repeat("x", 600), "%F0%9F%93%B7", "{}", "-1",
	} {
		malformed := path
		if !strings.HasSuffix(path, "{queue}") {
			malformed = strings.Replace(path, "{queue}", "pushes", 1)
		}
		malformed = pathParameter.ReplaceAllString(malformed, id)
		status, body, _ := send(own, malformed)
		if status < 400 || status >= 500 {
			t.Errorf("%s with %q: %d %s", route, id, status, body)
		}
	}
}

// visitAdmin sends a request from a network of its own.
func visitAdmin(t *testing.T, base string, v adminVisit, method, target string) (int, string, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, base+target, nil)
	if err != nil {
		return http.StatusBadRequest, "", http.Header{} // net/http sends no such thing
	}
	if v.username != "" {
		request.SetBasicAuth(v.username, v.password)
	}
	if v.origin != "" {
		request.Header.Set("Origin", v.origin)
	}
	if v.marked {
		request.Header.Set("X-Securecam-Admin", "1")
	}
	request.Header.Set("X-Forwarded-For", "2001:db8:0:"+uuid.NewString()[:4]+"::1")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	checkContract(t, base, response, body)
	return response.StatusCode, string(body), response.Header
}
