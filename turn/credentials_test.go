package turn

import (
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

func TestNewCredentialsIsTheRESTScheme(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	username, password := NewCredentials([]byte("secret"), Principal{"ada", "phone", "door"}, time.Hour, now)
	if want := "1764003600:1764000000000.ada.phone.door"; username != want {
		t.Errorf("got user name %q, want %q", username, want)
	}
	// printf 1764003600:1764000000000.ada.phone.door | openssl dgst -sha1 -hmac secret -binary | base64
	if want := "tJ8wkFUb/viy/52Fsh3MwFTOdg0="; password != want {
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
		realm: "realm", secret: []byte("secret"), stats: new(counters), revoked: new(revocations),
		now: func() time.Time { return now },
	}
	good, password := NewCredentials(s.secret, Principal{User: "a:b"}, time.Second, now)
	expired, _ := NewCredentials(s.secret, Principal{User: "ada"}, 0, now)
	tests := []struct {
		name, username string
		method         stun.Method
		user           string
		ok             bool
	}{
		{"good", good, stun.MethodAllocate, "1764000000000.a:b..", true},
		{"expired", expired, stun.MethodAllocate, "", false},
		{"expired but allocated", expired, stun.MethodRefresh, "1764000000000.ada..", true},
		{"no user", "1764003600:1764000000000...", stun.MethodAllocate, "", false},
		{"no parts", "1764003600:ada", stun.MethodAllocate, "", false},
		{"no issue", "1764003600:x.ada..", stun.MethodAllocate, "", false},
		{"no expiry", ":0.ada..", stun.MethodAllocate, "", false},
		{"no colon", "1764003600", stun.MethodAllocate, "", false},
		{"no number", "tomorrow:0.ada..", stun.MethodRefresh, "", false},
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
	f.Add("1764003600:0.ada.phone.door")
	f.Add(":")
	f.Add("-9223372036854775808:1.x:y..")
	f.Fuzz(func(t *testing.T, username string) {
		_, h, ok := parseUsername(username)
		if !ok {
			return
		}
		again, ok := parseHolder(h.id())
		if h.principal.User == "" || again != h || !ok {
			t.Errorf("parseUsername(%q) names %+v, then %+v", username, h, again)
		}
	})
}
