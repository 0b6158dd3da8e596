package docs_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/docs"
)

func get(t *testing.T, app *fiber.App, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := app.Test(r, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// TestPage follows the page's own references, and finds no others.
func TestPage(t *testing.T) {
	t.Parallel()
	s, err := docs.New()
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New()
	s.Mount(app, nil)
	response, page := get(t, app, "/docs")
	if response.StatusCode != http.StatusOK || !strings.Contains(response.Header.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Fatalf("%s %v", response.Status, response.Header)
	}
	refs := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllSubmatch(page, -1)
	if len(refs) != 5 {
		t.Fatalf("the page refers to %q", refs)
	}
	for _, ref := range refs {
		if string(ref[1]) == "data:," {
			continue
		}
		path := "/" + string(ref[1])
		plain, text := get(t, app, path)
		zipped, packed := get(t, app, path, "Accept-Encoding", "gzip")
		if plain.StatusCode != http.StatusOK || zipped.StatusCode != http.StatusOK || len(text) == 0 {
			t.Fatalf("%s: %s, %s", path, plain.Status, zipped.Status)
		}
		if zipped.Header.Get("Content-Encoding") == "gzip" {
			r, err := gzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			if packed, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(text, packed) {
			t.Errorf("%s differs with and without gzip", path)
		}
		if again, _ := get(t, app, path, "If-None-Match", plain.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", path, again.Status)
		}
	}
	for _, path := range []string{"/docs/index.html", "/docs/LICENSE", "/docs/..%2fdocs.go", "/docs/x"} {
		if response, _ := get(t, app, path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}
