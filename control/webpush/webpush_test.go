package webpush

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/control/webpush/webpushtest"
)

// The example of RFC 8291, section 5.
const (
	vectorText   = "When I grow up, I want to be a watermelon"
	vectorP256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	vectorAuth   = "BTBZMqHH6r4Tts7J_aSIgg"
	vectorSender = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
	vectorSalt   = "DGv6ra1nlYgDCS1FRnbzlw"
	vectorBody   = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

func unbase(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVector(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys(vectorP256dh, vectorAuth+"==") // some browsers pad
	if err != nil {
		t.Fatal(err)
	}
	sender, err := ecdh.P256().NewPrivateKey(unbase(t, vectorSender))
	if err != nil {
		t.Fatal(err)
	}
	body, err := seal(keys, []byte(vectorText), sender, unbase(t, vectorSalt))
	if err != nil {
		t.Fatal(err)
	}
	if got := base64.RawURLEncoding.EncodeToString(body); got != vectorBody {
		t.Errorf("body\n%s, want\n%s", got, vectorBody)
	}
}

func TestEncrypt(t *testing.T) {
	t.Parallel()
	browser := webpushtest.New(t, "")
	keys, err := ParseKeys(browser.P256dh, browser.Auth)
	if err != nil {
		t.Fatal(err)
	}
	var bodies [][]byte
	for _, length := range []int{0, 1, 100, MaxMessage} {
		text := bytes.Repeat([]byte("x"), length)
		for range 2 {
			body, err := Encrypt(keys, text)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := browser.Decrypt(body); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes: %v, %d bytes", length, err, len(got))
			}
			for _, other := range bodies {
				if bytes.Equal(other, body) {
					t.Error("two messages look alike")
				}
			}
			bodies = append(bodies, body)
		}
	}
	if _, err := Encrypt(keys, make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, 32)
	for subject, ok := range map[string]bool{
		"mailto:ops@example.org": true, "https://cam.example.org": true, "": false, "ops@example.org": false,
		"mailto:": false, "mailto:@": false, "http://cam.example.org": false, "https://": false, "mailto:mailto:a@b": true,
	} {
		if _, err := NewServer(key, subject); (err == nil) != ok {
			t.Errorf("subject %q: %v", subject, err)
		}
	}
	for _, bad := range [][]byte{nil, key[:31], make([]byte, 32), bytes.Repeat([]byte{0xff}, 32)} {
		if _, err := NewServer(bad, "mailto:ops@example.org"); err == nil {
			t.Errorf("key %x is taken", bad)
		}
	}
	s, err := NewServer(key, "mailto:ops@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if point := unbase(t, s.PublicKey()); len(point) != publicLength || point[0] != 4 {
		t.Errorf("public key %x", point)
	}
	header, err := s.Authorization("https://push.example.org/abc?d", time.Now())
	if err != nil || !strings.HasPrefix(header, "vapid t=") || !strings.HasSuffix(header, ", k="+s.PublicKey()) {
		t.Errorf("header %q, %v", header, err)
	}
	for _, endpoint := range []string{"", "nowhere", "https://"} {
		if _, err := s.Authorization(endpoint, time.Now()); err == nil {
			t.Errorf("endpoint %q is taken", endpoint)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(vectorP256dh, vectorAuth)
	f.Add("", "")
	f.Add(vectorP256dh[1:], vectorAuth+"A")
	f.Fuzz(func(t *testing.T, p256dh, auth string) {
		keys, err := ParseKeys(p256dh, auth)
		if err != nil {
			if !errors.Is(err, ErrKeys) {
				t.Errorf("error %v is not ErrKeys", err)
			}
			return
		}
		if _, err := Encrypt(keys, []byte("text")); err != nil {
			t.Errorf("keys are taken, but: %v", err)
		}
	})
}
