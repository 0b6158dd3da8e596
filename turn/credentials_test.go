package turn

import (
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

func TestNewCredentialsIsTheRESTScheme(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	username, password := NewCredentials([]byte("secret"), "ada", time.Hour, now)
	if want := "1764003600:ada"; username != want {
		t.Errorf("got user name %q, want %q", username, want)
	}
	// printf 1764003600:ada | openssl dgst -sha1 -hmac secret -binary | base64
	if want := "LK7vcQZpydbLhYkyDxnnmYl0G2Y="; password != want {
		t.Errorf("got password %q, want %q", password, want)
	}
	theirs, theirPassword, err := turn.GenerateLongTermTURNRESTCredentials("secret", "ada", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := passwordOf([]byte("secret"), theirs); got != theirPassword {
		t.Errorf("got password %q, the library makes %q", got, theirPassword)
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	s := &Server{
		realm: "realm", secret: []byte("secret"), stats: new(counters),
		now: func() time.Time { return now },
	}
	good, password := NewCredentials(s.secret, "a:b", time.Second, now)
	expired, _ := NewCredentials(s.secret, "ada", 0, now)
	tests := []struct {
		name, username string
		method         stun.Method
		user           string
		ok             bool
	}{
		{"good", good, stun.MethodAllocate, "a:b", true},
		{"expired", expired, stun.MethodAllocate, "", false},
		{"expired but allocated", expired, stun.MethodRefresh, "ada", true},
		{"no user", "1764003600:", stun.MethodAllocate, "", false},
		{"no expiry", ":ada", stun.MethodAllocate, "", false},
		{"no colon", "1764003600", stun.MethodAllocate, "", false},
		{"no number", "tomorrow:ada", stun.MethodRefresh, "", false},
		{"empty", "", stun.MethodAllocate, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			user, _, ok := s.authenticate(&turn.RequestAttributes{Username: tt.username, Method: tt.method})
			if ok != tt.ok || user != tt.user {
				t.Errorf("got %q, %v, want %q, %v", user, ok, tt.user, tt.ok)
			}
		})
	}
	_, key, _ := s.authenticate(&turn.RequestAttributes{Username: good, Realm: "theirs", Method: stun.MethodAllocate})
	if want := turn.GenerateAuthKey(good, "realm", password); string(key) != string(want) {
		t.Error("the key is not that of our realm")
	}
}

func FuzzParseUsername(f *testing.F) {
	f.Add("1764003600:ada")
	f.Add(":")
	f.Add("-9223372036854775808:x:y")
	f.Fuzz(func(t *testing.T, username string) {
		_, user, ok := parseUsername(username)
		if ok && (user == "" || !strings.HasSuffix(username, ":"+user)) {
			t.Errorf("parseUsername(%q) names %q", username, user)
		}
	})
}
