package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

const secret = "the-cause-is-secret"

var errFull = fault.New(fault.Conflict, "shelf_full", "The shelf is full.")

type bookInput struct {
	ID    string `path:"id" maxLength:"8"`
	Color string `query:"color" enum:"red,blue"`
	Body  struct {
		Title    string `json:"title" minLength:"1" maxLength:"10"`
		Password string `json:"password,omitempty" maxLength:"12"`
		Pages    int    `json:"pages,omitempty" minimum:"1"`
	}
}

type bookOutput struct {
	Body struct {
		Title string `json:"title"`
	}
}

// newApp returns an app with the operation PUT /books/{id}, which answers what
// its title names, and the log that it writes.
func newApp(t *testing.T, cfg rest.RecordConfig) (*fiber.App, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true})
	app.Use(rest.Record(cfg))
	api := rest.New(app, rest.Config{})
	failures := map[string]error{
		"fault":    errFull.With(errors.New(secret)),
		"wrapped":  fmt.Errorf("shelve: %w", errFull),
		"missing":  fmt.Errorf("%s: %w", secret, store.ErrNotFound),
		"conflict": fmt.Errorf("%s: %w", secret, store.ErrConflict),
		"unknown":  errors.New(secret),
		"full":     fmt.Errorf("%s: %w", secret, store.ErrNoSpace),
		"disk":     fmt.Errorf("%s: %w", secret, syscall.ENOSPC),
		"away":     fmt.Errorf("%s: %w: %w", secret, store.ErrUnavailable, context.DeadlineExceeded),
		"late":     fmt.Errorf("%s: %w", secret, context.DeadlineExceeded),
		"anonym":   fault.New(fault.Unauthenticated, "unauthenticated", "Who are you?"),
	}
	rest.Register(api, huma.Operation{Method: http.MethodPut, Path: "/books/{id}"},
		func(ctx context.Context, in *bookInput) (*bookOutput, error) {
			rest.Annotate(ctx, slog.String("book", in.ID))
			if in.Body.Title == "panic" {
				panic(secret) //nolint:forbidigo // what is tested
			}
			if err := failures[in.Body.Title]; err != nil {
				return nil, err
			}
			out := &bookOutput{}
			out.Body.Title = in.Body.Title
			return out, nil
		})
	app.Get("/raw/:error", func(c *fiber.Ctx) error { return rest.Problem(c, failures[c.Params("error")]) })
	app.Get("/return/:error", func(c *fiber.Ctx) error { return failures[c.Params("error")] })
	app.Get("/panic", func(*fiber.Ctx) error { panic(secret) }) //nolint:forbidigo // what is tested
	app.Get("/whoami", func(c *fiber.Ctx) error { return c.JSON(rest.RequestOf(c.UserContext())) })
	return app, &log
}

type answer struct {
	status int
	header http.Header
	body   string
	doc    rest.Document
}

func do(t *testing.T, app *fiber.App, req *http.Request) answer {
	t.Helper()
	res, err := app.Test(req, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(body)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(body, &a.doc); err != nil {
			t.Fatalf("not JSON: %q", body)
		}
	}
	return a
}

func put(path, contentType, body string) *http.Request {
	req := httptest.NewRequest(http.MethodPut, path, strings.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}

func TestEveryErrorIsAProblemDocument(t *testing.T) {
	t.Parallel()
	const js = "application/json"
	get := func(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }
	encoded := put("/books/1", js, `{"title":"a"}`)
	encoded.Header.Set("Content-Encoding", "gzip")
	badHost := get("/whoami")
	badHost.Host = `evil"<host>`
	tests := []struct {
		name   string
		req    *http.Request
		status int
		code   string
	}{
		{"ok", put("/books/1", js, `{"title":"a"}`), 200, ""},
		{"charset", put("/books/1", js+"; charset=utf-8", `{"title":"a"}`), 200, ""},
		{"no UTF-8", put("/books/1", js, "{\"title\":\"\xff\"}"), 400, "malformed_body"},
		{"escaped backslash before u0000", put("/books/1", js, `{"title":"\\u0000"}`), 200, ""},
		{"fault", put("/books/1", js, `{"title":"fault"}`), 409, "shelf_full"},
		{"wrapped fault", put("/books/1", js, `{"title":"wrapped"}`), 409, "shelf_full"},
		{"not found", put("/books/1", js, `{"title":"missing"}`), 404, "not_found"},
		{"conflict", put("/books/1", js, `{"title":"conflict"}`), 409, "conflict"},
		{"unknown error", put("/books/1", js, `{"title":"unknown"}`), 500, "internal"},
		{"no space", put("/books/1", js, `{"title":"full"}`), 507, "storage_full"},
		{"full disk", put("/books/1", js, `{"title":"disk"}`), 507, "storage_full"},
		{"no database", put("/books/1", js, `{"title":"away"}`), 503, "unavailable"},
		{"deadline", put("/books/1", js, `{"title":"late"}`), 503, "timeout"},
		{"unauthenticated", put("/books/1", js, `{"title":"anonym"}`), 401, "unauthenticated"},
		{"panic in an operation", put("/books/1", js, `{"title":"panic"}`), 500, "internal"},
		{"panic in a route", get("/panic"), 500, "internal"},
		{"raw fault", get("/raw/fault"), 409, "shelf_full"},
		{"raw unknown", get("/raw/unknown"), 500, "internal"},
		{"returned fault", get("/return/fault"), 409, "shelf_full"},
		{"returned unknown", get("/return/unknown"), 500, "internal"},
		{"no such route", get("/nowhere/" + secret), 404, "not_found"},
		{"method", httptest.NewRequest(http.MethodPost, "/books/1", nil), 405, "method_not_allowed"},
		{"malformed JSON", put("/books/1", js, `{"title":`), 400, "malformed_body"},
		{"not an object", put("/books/1", js, `[]`), 422, "validation_failed"},
		{"two values", put("/books/1", js, `{"title":"a"}{}`), 400, "malformed_body"},
		{"NUL", put("/books/1", js, `{"title":"a\u0000b"}`), 400, "malformed_body"},
		{"no body", put("/books/1", js, ""), 400, "malformed_body"},
		{"no content type", put("/books/1", "", `{"title":"a"}`), 415, "unsupported_media_type"},
		{"form", put("/books/1", "application/x-www-form-urlencoded", "title=a"), 415, "unsupported_media_type"},
		{"json by suffix", put("/books/1", "text/plain+json", `{"title":"a"}`), 415, "unsupported_media_type"},
		{"coded body", encoded, 415, "unsupported_encoding"},
		{"unknown field", put("/books/1", js, `{"title":"a","year":1}`), 422, "validation_failed"},
		{"missing field", put("/books/1", js, `{}`), 422, "validation_failed"},
		{"too long", put("/books/1", js, `{"title":"aaaaaaaaaaa"}`), 422, "validation_failed"},
		{"wrong type", put("/books/1", js, `{"title":1}`), 422, "validation_failed"},
		{"path", put("/books/123456789", js, `{"title":"a"}`), 422, "validation_failed"},
		{"query", put("/books/1?color=green", js, `{"title":"a"}`), 422, "validation_failed"},
		{"NUL in the path", get("/whoami%00"), 400, "invalid_request"},
		{"NUL in the query", get("/whoami?a=%00"), 400, "invalid_request"},
		{"no text in the query", get("/whoami?%ff=a"), 400, "invalid_request"},
		{"host", badHost, 400, "invalid_request"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app, _ := newApp(t, rest.RecordConfig{})
			got := do(t, app, test.req)
			if got.status != test.status || got.doc.Code != test.code {
				t.Fatalf("got %d %q (%s), want %d %q", got.status, got.doc.Code, got.body, test.status, test.code)
			}
			if strings.Contains(got.body, secret) {
				t.Errorf("the cause leaks: %s", got.body)
			}
			if test.code == "" {
				return
			}
			if got.doc.Status != test.status || got.doc.Type != "about:blank" || got.doc.Message == "" ||
				got.doc.Title != http.StatusText(test.status) {
				t.Errorf("incomplete document: %s", got.body)
			}
			if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (test.status == 401) {
				t.Errorf("got WWW-Authenticate %q with %d", challenge, test.status)
			}
			if retry := got.header.Get("Retry-After"); (retry != "") != (test.status == 503) {
				t.Errorf("got Retry-After %q with %d", retry, test.status)
			}
			if test.status == 405 && !strings.Contains(got.header.Get("Allow"), "PUT") {
				t.Errorf("got Allow %q", got.header.Get("Allow"))
			}
		})
	}
}

func TestValidationListsEveryFault(t *testing.T) {
	t.Parallel()
	app, _ := newApp(t, rest.RecordConfig{})
	got := do(t, app, put("/books/1", "application/json",
		`{"title":"","password":"correct horse battery","pages":0,"year":1}`))
	shown := map[string]any{}
	for _, e := range got.doc.Errors {
		shown[e.Location] = e.Value
	}
	if v, ok := shown["body.pages"]; !ok || v != 0.0 {
		t.Errorf("got %v for body.pages, want 0", v)
	}
	if v, ok := shown["body.password"]; !ok || v != nil {
		t.Errorf("got %v for body.password, want it listed without its value", v)
	}
	if len(got.doc.Errors) != 4 || strings.Contains(got.body, "horse") {
		t.Errorf("got %s, want four faults and no password", got.body)
	}
}
