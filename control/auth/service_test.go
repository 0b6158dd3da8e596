package auth_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// sweeps is a store that only sweeps, and counts.
type sweeps struct {
	auth.Store
	calls []time.Time
	err   error
}

func (s *sweeps) DeleteExpiredSessions(_ context.Context, now time.Time) (int64, error) {
	s.calls = append(s.calls, now)
	return 1, s.err
}

func (s *sweeps) DeleteExpiredVerifications(context.Context, time.Time) (int64, error) {
	return 0, s.err
}

func TestRunSweepsHourly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &sweeps{err: errors.New("the database is away")}
		service, err := auth.New(auth.Config{Store: db, Secret: []byte(testSecret)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		start := time.Now()
		if err := service.Run(ctx); err != nil {
			t.Error(err)
		}
		if len(db.calls) != 3 || !db.calls[2].Equal(start.Add(2*time.Hour).UTC().Truncate(time.Millisecond)) {
			t.Errorf("swept at %v", db.calls)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]auth.Config{
		"no secret":        {},
		"short secret":     {Secret: []byte("0123456789abcde")},
		"path in origin":   {Secret: []byte(testSecret), TrustedOrigins: []string{"https://a.example/x"}},
		"wildcard":         {Secret: []byte(testSecret), TrustedOrigins: []string{"*"}},
		"scheme of origin": {Secret: []byte(testSecret), TrustedOrigins: []string{"ftp://a.example"}},
	} {
		if _, err := auth.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCreateUser(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	user, err := e.service.CreateUser(t.Context(), "Root@Example.org", "Root", testPassword)
	if err != nil || user.Email != "root@example.org" {
		t.Fatalf("got %+v, %v", user, err)
	}
	if _, err := e.service.CreateUser(t.Context(), "root@example.org", "Root", testPassword); !errors.Is(err, auth.ErrEmailTaken) {
		t.Errorf("got %v, want ErrEmailTaken", err)
	}
	in := e.call("POST", "/api/auth/sign-in/email", `{"email":"root@example.org","password":"`+testPassword+`"}`)
	if in.status != 200 {
		t.Errorf("got %d %s", in.status, in.body)
	}
}

func TestDeviceToken(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	owner := storetest.User(t, e.db)
	camera, client := storetest.Camera(t, e.db, owner.ID), storetest.Client(t, e.db, owner.ID)
	issue := func(d store.Device) string {
		token, expires, err := e.service.IssueDeviceToken(d)
		if err != nil || time.Until(expires) < 364*24*time.Hour {
			t.Fatalf("got %v until %v", err, expires)
		}
		return token
	}
	change := func(d store.Device, f func(*store.Device)) store.Device { f(&d); return d }
	rotated := storetest.Camera(t, e.db, owner.ID)
	old := issue(rotated)
	if err := e.db.SetDeviceKey(t.Context(), owner.ID, rotated.ID, "another key", store.Actor{}); err != nil {
		t.Fatal(err)
	}
	foreign, err := auth.New(auth.Config{Store: e.db, Secret: []byte("the secret of another server")})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, _, err := foreign.IssueDeviceToken(camera)
	if err != nil {
		t.Fatal(err)
	}
	media, err := auth.NewSigner([]byte(testSecret), "media")
	if err != nil {
		t.Fatal(err)
	}
	otherPurpose, err := media.Sign(auth.DeviceClaims{
		UserID: owner.ID, DeviceID: camera.ID, Role: camera.Role, KeyID: camera.TokenKeyID, Exp: time.Now().Unix() + 60,
	})
	if err != nil {
		t.Fatal(err)
	}
	e.offset.Store(-int64(366 * 24 * time.Hour))
	expired, _, err := e.service.IssueDeviceToken(camera)
	if err != nil {
		t.Fatal(err)
	}
	e.offset.Store(0)

	good := issue(camera)
	tests := map[string]string{
		"garbage": "garbage", "empty": "", "dots": "..", "cut": good[:len(good)-1], "longer": good + "A",
		"wrong owner":   issue(change(camera, func(d *store.Device) { d.UserID = storetest.ID() })),
		"wrong role":    issue(change(camera, func(d *store.Device) { d.Role = store.RoleClient })),
		"wrong device":  issue(change(camera, func(d *store.Device) { d.ID = client.ID })),
		"no device":     issue(change(camera, func(d *store.Device) { d.ID = storetest.ID() })),
		"no key":        issue(change(camera, func(d *store.Device) { d.TokenKeyID = "" })),
		"rotated":       old,
		"other server":  elsewhere,
		"other purpose": otherPurpose,
		"expired":       expired,
	}
	for name, token := range tests {
		if _, _, err := e.service.Device(t.Context(), token); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("%s: got %v, want ErrUnauthenticated", name, err)
		}
		got := e.call("GET", "/device", "", "Authorization", "Bearer "+token)
		if got.status != 401 || got.code() != "unauthenticated" || got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: got %d %s %q", name, got.status, got.body, got.header.Get("WWW-Authenticate"))
		}
	}
	p, d, err := e.service.Device(t.Context(), good)
	want := auth.Principal{UserID: owner.ID, DeviceID: camera.ID, KeyID: camera.TokenKeyID, Role: store.RoleCamera}
	if err != nil || p != want || d.ID != camera.ID {
		t.Errorf("got %+v %+v %v", p, d, err)
	}
	if p.Actor() != (store.Actor{UserID: owner.ID, DeviceID: camera.ID}) {
		t.Errorf("got %+v", p.Actor())
	}
}

func TestSecuritySchemes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	up := e.signUp("ada@example.org")
	user, _ := up.json["user"].(map[string]any)
	userID, _ := user["id"].(string)
	camera := storetest.Camera(t, e.db, userID)
	token, _, err := e.service.IssueDeviceToken(camera)
	if err != nil {
		t.Fatal(err)
	}
	var (
		none   []string
		cookie = []string{"Cookie", cookieHeader(up.cookie)}
		bearer = []string{"Authorization", "bearer  " + token}
		wrong  = []string{"Authorization", "Bearer wrong"}
		basic  = []string{"Authorization", "Basic " + token}
		both   = append(append([]string{}, cookie...), bearer...)
		mixed  = append(append([]string{}, cookie...), wrong...)
		forged = []string{"Cookie", cookieName + "=" + "x.y"}
	)
	tests := []struct {
		path    string
		headers []string
		status  int
		device  string
	}{
		{"/public", none, 200, ""},
		{"/public", wrong, 200, ""},
		{"/session", none, 401, ""},
		{"/session", cookie, 200, ""},
		{"/session", bearer, 401, ""},
		{"/session", mixed, 200, ""},
		{"/session", forged, 401, ""},
		{"/device", none, 401, ""},
		{"/device", cookie, 401, ""},
		{"/device", bearer, 200, camera.ID},
		{"/device", basic, 401, ""},
		{"/either", none, 401, ""},
		{"/either", cookie, 200, ""},
		{"/either", bearer, 200, camera.ID},
		{"/either", both, 200, camera.ID},
		{"/either", mixed, 401, ""},
	}
	for _, test := range tests {
		got := e.call("GET", test.path, "", test.headers...)
		if got.status != test.status {
			t.Errorf("%s with %q: got %d, want %d", test.path, test.headers, got.status, test.status)
			continue
		}
		if got.status != 200 || test.path == "/public" {
			continue
		}
		p, _ := got.json["Principal"].(map[string]any)
		if p["UserID"] != userID || p["DeviceID"] != test.device || (p["SessionID"] != "") != (test.device == "") ||
			p["IP"] != "0.0.0.0" {
			t.Errorf("%s with %q: got %v", test.path, test.headers, p)
		}
	}
}

func TestForeignPagesCannotWrite(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	up := e.signUp("ada@example.org")
	camera := storetest.Camera(t, e.db, up.json["user"].(map[string]any)["id"].(string))
	token, _, err := e.service.IssueDeviceToken(camera)
	if err != nil {
		t.Fatal(err)
	}
	const self, evil = "http://example.com", "https://evil.example"
	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		code               string
	}{
		{"same origin", "DELETE", "/session", []string{"Origin", self}, 200, ""},
		{"behind TLS", "DELETE", "/session", []string{"Origin", "https://example.com"}, 200, ""},
		{"trusted", "DELETE", "/session", []string{"Origin", "https://app.example", "Sec-Fetch-Site", "cross-site"}, 200, ""},
		{"no browser", "DELETE", "/session", nil, 200, ""},
		{"foreign read", "GET", "/session", []string{"Origin", evil}, 200, ""},
		{"foreign", "DELETE", "/session", []string{"Origin", evil}, 403, "invalid_origin"},
		{"null", "DELETE", "/session", []string{"Origin", "null"}, 403, "invalid_origin"},
		{"other port", "DELETE", "/session", []string{"Origin", self + ":8443"}, 403, "invalid_origin"},
		{"no origin but cross-site", "DELETE", "/session", []string{"Sec-Fetch-Site", "cross-site"}, 403, "invalid_origin"},
		{"foreign with a token", "DELETE", "/device", []string{"Origin", evil, "Authorization", "Bearer " + token}, 200, ""},
		{"foreign sign-in", "POST", "/api/auth/sign-in/email", []string{"Origin", evil}, 403, "INVALID_ORIGIN"},
		{"foreign sign-out", "POST", "/api/auth/sign-out", []string{"Origin", evil}, 403, "INVALID_ORIGIN"},
	}
	for _, test := range tests {
		headers := append([]string{"Cookie", cookieHeader(up.cookie)}, test.headers...)
		if got := e.call(test.method, test.path, "", headers...); got.status != test.status || got.code() != test.code {
			t.Errorf("%s: got %d %s, want %d %s", test.name, got.status, got.body, test.status, test.code)
		}
	}
}
