package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/securecam/securecam/control/fault"
)

const secret = "a secret that only this test knows"

func TestSameSite(t *testing.T) {
	t.Parallel()
	trusts := func(origin string) bool { return origin == "https://app.example" }
	tests := []struct {
		method, site, origin string
		want                 bool
	}{
		{"GET", "cross-site", "https://evil.example", true},
		{"HEAD", "cross-site", "null", true},
		{"OPTIONS", "cross-site", "https://evil.example", true},
		{"POST", "", "", true},
		{"POST", "same-origin", "", true},
		{"POST", "none", "", true},
		{"POST", "same-origin", "null", true},
		{"POST", "", "https://cam.example", true},
		{"POST", "", "http://CAM.example", true},
		{"POST", "", "https://cam.example.evil.example", false},
		{"POST", "", "https://cam.example@evil.example", false},
		{"POST", "", "https://cam.example:444", false},
		{"POST", "", "null", false},
		{"POST", "", "cam.example", false},
		{"POST", "", "://", false},
		{"POST", "same-site", "https://cam.example", false},
		{"POST", "cross-site", "https://cam.example", false},
		{"POST", "cross-site", "", false},
		{"POST", "cross-site", "https://app.example", true},
		{"PATCH", "", "https://app.example", true},
		{"DELETE", "garbage", "https://evil.example", false},
	}
	for _, test := range tests {
		if got := sameSite(test.method, test.site, test.origin, "cam.example", trusts); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

func TestParseOrigin(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]string{
		"https://A.example": "https://a.example", "https://a.example/": "https://a.example",
		"https://a.example:443": "https://a.example", "http://a.example:80": "http://a.example",
		"http://localhost:3000": "http://localhost:3000", "http://[::1]:80": "http://[::1]",
		"a.example": "", "https://": "", "https://a.example/x": "", "https://a.example?x": "", "https://u@a.example": "", "*": "", "null": "",
		"https://a.example;x": "", "https://*.example": "", "https://a.example,b.example": "",
	} {
		if got, err := ParseOrigin(origin); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", origin, got, err, want)
		}
	}
}

func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]string{
		"Ada@Example.ORG": "ada@example.org", "a.b+c_d-e'f@x-y.example.org": "a.b+c_d-e'f@x-y.example.org",
		"": "", "ada": "", "@example.org": "", "ada@": "", "ada@localhost": "", "ada@example.o": "", "ada@example.0rg": "",
		"ada@@example.org": "", ".ada@example.org": "", "ada.@example.org": "", "a..b@example.org": "", "ada@-x.org": "",
		"ada@exa mple.org": "", "ada @example.org": "", "ada@example..org": "", "ada@example.org.": "",
		"ädä@example.org": "", "ada@example.org\n": "", "<ada@example.org>": "",
		strings.Repeat("a", 243) + "@example.org": "",
	} {
		if got, ok := normalizeEmail(email); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, want %q", email, got, want)
		}
	}
}

func TestPasswordHash(t *testing.T) {
	t.Parallel()
	h := newHasher()
	first, err := h.hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.hash(t.Context(), "correct horse")
	if err != nil || first == second || !strings.HasPrefix(first, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %q and %q, %v", first, second, err)
	}
	for _, test := range []struct {
		password, hash string
		want           bool
	}{
		{"correct horse", first, true},
		{"correct horse", second, true},
		{"Correct horse", first, false},
		{"", first, false},
		{"correct horse", "", false},
		{"", "", false},
		// From test.c of the reference implementation (P-H-C/phc-winner-argon2).
		{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", true},
	} {
		if got, err := h.matches(t.Context(), test.password, test.hash); got != test.want || err != nil {
			t.Errorf("%q against %q: got %v, %v", test.password, test.hash, got, err)
		}
	}
	if got, err := h.matches(t.Context(), "x", "$2a$10$abc"); got || !errors.Is(err, errBadHash) {
		t.Errorf("bcrypt: got %v, %v", got, err)
	}
}

func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHasher()
		for range hashSlots { // two sign-ins are being worked on
			if err := h.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var (
			wait   sync.WaitGroup
			errs   [maxWaiting]error
			queued = func() int { synctest.Wait(); return int(h.waiting.Load()) }
		)
		for i := range errs {
			wait.Go(func() { _, errs[i] = h.hash(ctx, "correct horse") })
		}
		if got := queued(); got != maxWaiting {
			t.Fatalf("%d wait", got)
		}
		var flt *fault.Error
		if _, err := h.matches(t.Context(), "x", ""); !errors.As(err, &flt) || flt.Kind != fault.TooMany {
			t.Errorf("one too many: got %v", err)
		}
		cancel()
		wait.Wait()
		for _, err := range errs {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
		}
		h.leave()
		if _, err := h.hash(t.Context(), "correct horse"); err != nil || queued() != 0 {
			t.Errorf("with a free slot: %v", err)
		}
	})
}

func TestSignerPurposes(t *testing.T) {
	t.Parallel()
	a, errA := NewSigner([]byte(secret), "a")
	b, errB := NewSigner([]byte(secret), "b")
	token, err := a.Sign(map[string]int{"n": 1})
	if err := errors.Join(errA, errB, err); err != nil {
		t.Fatal(err)
	}
	var got map[string]int
	if err := b.Verify(token, &got); !errors.Is(err, ErrUnauthenticated) || got != nil {
		t.Errorf("another purpose: got %v, %v", got, err)
	}
	if err := a.Verify(token, &got); err != nil || got["n"] != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	body, mac, _ := strings.Cut(token, ".")
	for _, forged := range []string{
		body, body + ".", "." + mac, token + ".", token + "\n", body + "\n." + mac, "\r\n" + token, body + "=." + mac, body + "." + mac + "=",
		body + ".." + mac, strings.Repeat("a", maxTokenLength+1), mac + "." + body,
	} {
		if err := a.Verify(forged, &got); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%q: got %v", forged, err)
		}
	}
	if _, err := a.Sign(strings.Repeat("a", maxTokenLength)); err == nil {
		t.Error("signed what Verify would refuse")
	}
	if _, err := a.Sign(func() {}); err == nil {
		t.Error("signed a function")
	}
	wrong, err := a.Sign("text")
	if err != nil || !errors.Is(a.Verify(wrong, &got), ErrUnauthenticated) {
		t.Errorf("another shape passes: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	s, err := NewSigner([]byte(secret), "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	token, err := s.Sign(DeviceClaims{UserID: "u", DeviceID: "d", Role: "camera", KeyID: "k", Exp: 1})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{token, "", ".", token + "\n", token[:20] + "\n" + token[20:], strings.ToUpper(token)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, forged string) {
		var c DeviceClaims
		if err := s.Verify(forged, &c); (err == nil) != (forged == token) {
			t.Fatalf("%q: got %v", forged, err)
		}
	})
}

func FuzzOpenCookie(f *testing.F) {
	s := &Service{}
	var err error
	if s.keys.cookies, err = NewSigner([]byte(secret), "session cookie"); err != nil {
		f.Fatal(err)
	}
	good := s.sealCookie(cookieName, "token")
	for _, seed := range []string{good, "", ".", "%", "token.", good + "%00", strings.ToLower(good), "token." + strings.Repeat("A", 600)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if token, ok := s.openCookie(cookieName, value); ok && token != "token" {
			t.Fatalf("%q opens as %q", value, token)
		}
	})
}

func FuzzParseHash(f *testing.F) {
	for _, seed := range []string{
		newHasher().decoy, "", "$argon2id$v=19$m=1,t=1,p=1$$", "$argon2id$v=19$m=4294967295,t=9,p=9$AAAAAAAAAAA$AAAA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		p, err := parseHash(encoded)
		if err == nil && (p.memory > maxArgonMemory || p.time > maxArgonTime || p.threads == 0 || len(p.key) > 64 || len(p.salt) > 64) {
			t.Fatalf("%q asks for %+v", encoded, p)
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add("Mozilla\xff/5.0", 8)
	f.Add("ééé", 5)
	f.Fuzz(func(t *testing.T, value string, n int) {
		if n < 0 {
			return
		}
		if got := cut(value, n); len(got) > n || !utf8.ValidString(got) || strings.ContainsRune(got, 0) {
			t.Fatalf("cut(%q, %d) = %q", value, n, got)
		}
	})
}

func FuzzParseOrigin(f *testing.F) {
	for _, seed := range []string{"https://a.example", "http://[::1%25eth0]:80", "https://a;b", "https://%3b.example", "HTTPS://Ä.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		got, err := ParseOrigin(origin)
		if err != nil {
			return
		}
		if again, err := ParseOrigin(got); err != nil || again != got {
			t.Fatalf("%q became %q, which becomes %q, %v", origin, got, again, err)
		}
		if strings.ContainsAny(got, " ;,'\"*\r\n\t\x00") {
			t.Fatalf("%q became %q", origin, got)
		}
	})
}
