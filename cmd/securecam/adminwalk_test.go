package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

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
	eachDatabase(t, func(t *testing.T, w walk) {
		user := signUp(t, w.app.url, "user@example.org")
		camera, _ := user.register("camera")
		routes := w.adminRoutes(t)
		for _, route := range routes {
			method, path, _ := strings.Cut(route, " ")
			target := pathParameter.ReplaceAllString(strings.Replace(path, "{queue}", "pushes", 1), uuid.NewString()) + adminQueries[route]
			trespass(t, w.app.url, route, target)
			for _, c := range []*apiClient{user, camera} {
				// From one address: a device's token is a wrong password, of which there are too many soon.
				if status, body := c.raw(method, target, nil); status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
					t.Errorf("%s of a user: %d %s", route, status, body)
				}
			}
			own := adminVisit{username: "root", password: adminPassword, origin: w.app.url, marked: true}
			knock(t, route, path, target, own, func(v adminVisit, target string) (int, string, http.Header) {
				return visitAdmin(t, w.app.url, v, method, target)
			})
		}
		// Nothing happened to the user in all that.
		user.must(http.StatusOK, "GET", "/devices", nil, nil)
	})
}

// adminRoutes are those of the description and of the page. There must be no
// others, and only they may take the administrator's password.
func (w walk) adminRoutes(t *testing.T) []string {
	t.Helper()
	routes := []string{"GET /admin", "GET /admin/page/admin.js", "GET /admin/page/admin.css", "GET /admin/pprof/"}
	w.operations(func(route, _, path string, op operationJSON) {
		if strings.HasPrefix(path, "/admin/") != takes(op, "admin") || takes(op, "admin") && !takesOnly(op, "admin") {
			t.Errorf("%s takes %v", route, op.Security)
		}
		if strings.HasPrefix(path, "/admin/") {
			routes = append(routes, route)
		}
	})
	for _, r := range w.app.routes {
		if r.Method == http.MethodHead || !strings.HasPrefix(r.Path, "/admin") {
			continue
		}
		walked := slices.ContainsFunc(routes, func(route string) bool {
			method, path, _ := strings.Cut(route, " ")
			one := parametersOf(strings.Split(r.Path, "/"), strings.Split(path, "/")) >= 0
			return method == r.Method && (one || shape(path) == shape(r.Path))
		})
		if !walked {
			t.Errorf("%s %s is not walked", r.Method, r.Path)
		}
	}
	return routes
}

// trespass tries a route with passwords that are not the administrator's, and
// with the administrator's from pages that are not.
func trespass(t *testing.T, base, route, target string) {
	t.Helper()
	method, _, _ := strings.Cut(route, " ")
	for what, v := range map[string]adminVisit{
		"no password": {origin: base, marked: true}, "a wrong password": {"root", "correct horse", base, true},
		"a wrong name": {"admin", adminPassword, base, true}, "a user's": {"user@example.org", "correct horse battery", base, true},
	} {
		status, body, header := visitAdmin(t, base, v, method, target)
		if status != http.StatusUnauthorized || codeOf([]byte(body)) != "unauthenticated" ||
			!strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic") {
			t.Errorf("%s with %s: %d %s", route, what, status, body)
		}
	}
	if method == http.MethodGet {
		return
	}
	for what, v := range map[string]adminVisit{
		"another origin":         {"root", adminPassword, "https://evil.example", true},
		"no origin that is told": {"root", adminPassword, "null", true},
		"a form":                 {"root", adminPassword, base, false},
		"a foreign form":         {"root", adminPassword, "https://evil.example", false},
	} {
		if status, body, _ := visitAdmin(t, base, v, method, target); status != http.StatusForbidden || codeOf([]byte(body)) != "invalid_origin" {
			t.Errorf("%s from %s: %d %s", route, what, status, body)
		}
	}
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
		Transport: transport, Timeout: patience,
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
