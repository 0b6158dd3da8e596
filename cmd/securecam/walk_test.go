package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// The walks go through every operation of the API's description, which
// TestOpenAPIDescribesEveryRoute holds to be all that there are, and fail on
// one that they have not been told how to treat: whoever adds a route says here
// who may use it.

// walk is a server on one database, without limits, and what it says of itself.
type walk struct {
	app *app
	db  *store.DB
	doc openAPI
}

// eachDatabase walks a server on SQLite and one on PostgreSQL.
func eachDatabase(t *testing.T, f func(t *testing.T, w walk)) {
	t.Helper()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		settings := adminSettings("--database-url="+databaseURL, "--rate-limits=off", "--trusted-proxies=127.0.0.0/8")
		w := walk{app: startApp(t, settings...)}
		db, err := store.Open(t.Context(), store.Config{URL: databaseURL})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		w.db = db
		w.doc, _ = readOpenAPI(t, w.app.url)
		f(t, w)
	})
}

// operations calls f for each operation, whose route is its method and its
// path, as the description writes it.
func (w walk) operations(f func(route, method, path string, op operationJSON)) {
	for path, operations := range w.doc.Paths {
		for method, op := range operations {
			method = strings.ToUpper(method)
			f(method+" "+path, method, path, op)
		}
	}
}

// openRoutes are the operations that ask nobody who they are, with what they
// answer somebody who sends nothing: no more than everybody may know.
var openRoutes = map[string]int{
	"GET /ops/live":    http.StatusOK,
	"GET /ops/ready":   http.StatusOK,
	"GET /ops/metrics": http.StatusOK, // of the server, of no user
	"GET /push-notifications/vapid-public-key": http.StatusOK, // public by nature

	"GET /api/auth/get-session":                           http.StatusOK,                  // null
	"POST /api/auth/sign-out":                             http.StatusOK,                  // of whom it is sent by, if anybody
	"GET /api/auth/passkey/generate-authenticate-options": http.StatusUnprocessableEntity, // there is none for an address
	"POST /api/auth/forget-password":                      http.StatusUnprocessableEntity,
	"POST /api/auth/passkey/verify-authentication":        http.StatusUnprocessableEntity,
	"POST /api/auth/request-password-reset":               http.StatusUnprocessableEntity,
	"POST /api/auth/reset-password":                       http.StatusUnprocessableEntity,
	"POST /api/auth/send-verification-email":              http.StatusUnprocessableEntity,
	"POST /api/auth/sign-in/email":                        http.StatusUnprocessableEntity,
	"POST /api/auth/sign-up/email":                        http.StatusUnprocessableEntity,
	"POST /api/auth/two-factor/verify-backup-code":        http.StatusUnprocessableEntity,
	"POST /api/auth/two-factor/verify-totp":               http.StatusUnprocessableEntity,
	"GET /api/auth/reset-password/{token}":                http.StatusFound, // to the page, with an error; the letter is the credential
	"GET /api/auth/verify-email":                          http.StatusUnprocessableEntity,

	// The address itself is signed.
	"GET /objects/{key}": http.StatusForbidden,
	"PUT /objects/{key}": http.StatusForbidden,
	"GET /whep/{mediaSessionId}/{sessionId}/events/{stream}": http.StatusNotFound,

	// The token is in Socket.IO's own handshake.
	"GET /socket.io/":  http.StatusBadRequest,
	"POST /socket.io/": http.StatusBadRequest,
}

// TestOpenRoutes holds that what asks for no credentials is what is meant to.
func TestOpenRoutes(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w walk) {
		anybody := newBrowser(t, w.app.url)
		anybody.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		w.operations(func(route, method, path string, op operationJSON) {
			want, known := openRoutes[route]
			if asked := len(op.Security) > 0; asked == known {
				t.Errorf("%s asks for credentials %v: openRoutes says the opposite", route, asked)
			}
			if !known {
				return
			}
			target := pathParameter.ReplaceAllString(path, uuid.NewString())
			status, answer := anybody.send(method, target, bodyType(op), "{}")
			spoken := strings.HasPrefix(path, "/socket.io/") || codeOf(answer) != ""
			if status != want || status >= http.StatusBadRequest && !spoken {
				t.Errorf("%s of anybody: %d %s, want %d", route, status, answer, want)
			}
		})
		for route := range openRoutes {
			method, path, _ := strings.Cut(route, " ")
			if _, ok := w.doc.Paths[path][strings.ToLower(method)]; !ok {
				t.Errorf("openRoutes has %s, which there is not", route)
			}
		}
	})
}

// bodyType is a media type that the operation takes.
func bodyType(op operationJSON) string {
	if op.RequestBody == nil || op.RequestBody.Content["application/json"].Schema != nil {
		return "application/json"
	}
	for mediaType := range op.RequestBody.Content {
		return mediaType
	}
	return ""
}

// takesOnly says whether an operation takes these schemes and no others.
func takesOnly(op operationJSON, schemes ...string) bool {
	for _, requirement := range op.Security {
		for scheme := range requirement {
			if !slices.Contains(schemes, scheme) {
				return false
			}
		}
	}
	return len(op.Security) > 0
}
