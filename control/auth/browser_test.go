package auth_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// browser is a client that keeps its cookies.
type browser struct {
	*env
	headers []string // more of them, as pairs
	cookies map[string]string
}

func (e *env) browser(headers ...string) *browser {
	return &browser{env: e, headers: headers, cookies: map[string]string{}}
}

// post sends body, which is marshalled unless it is a string.
func (b *browser) post(path string, body any) answer {
	b.Helper()
	text, ok := body.(string)
	if !ok {
		raw, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		text = string(raw)
	}
	return b.send("POST", "/api/auth"+path, text)
}

func (b *browser) get(path string) answer {
	b.Helper()
	return b.send("GET", "/api/auth"+path, "")
}

func (b *browser) send(method, path, body string) answer {
	b.Helper()
	var cookies []string
	for name, value := range b.cookies {
		cookies = append(cookies, name+"="+value)
	}
	a := b.call(method, path, body, append([]string{"Cookie", strings.Join(cookies, "; ")}, b.headers...)...)
	for _, c := range a.all {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return a
}

// want fails the test unless the answer is that.
func (b *browser) want(a answer, status int, code string) answer {
	b.Helper()
	if a.status != status || a.code() != code {
		b.Fatalf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
	return a
}

func (b *browser) signUp(email string) *browser {
	b.Helper()
	b.want(b.post("/sign-up/email", map[string]string{"name": "Ada", "email": email, "password": testPassword}), 200, "")
	return b
}

func (b *browser) signIn(email, password string) answer {
	b.Helper()
	return b.post("/sign-in/email", map[string]string{"email": email, "password": password})
}

// user returns who is signed in, nil if nobody is.
func (b *browser) user() map[string]any {
	b.Helper()
	user, _ := b.want(b.get("/get-session"), 200, "").json["user"].(map[string]any)
	return user
}

// letter returns the only letter since the last call and its link's path.
func (e *env) letter(to string) (sentLetter, string) {
	e.Helper()
	sent := e.letters.take()
	if len(sent) != 1 || sent[0].to != to {
		e.Fatalf("got letters %+v, want one to %s", sent, to)
	}
	return sent[0], link(sent[0].text)
}

var linkPattern = regexp.MustCompile(`https?://\S+`)

// link returns path and query of the link in a text.
func link(text string) string {
	u, err := url.Parse(linkPattern.FindString(text))
	if err != nil {
		return ""
	}
	return u.RequestURI()
}
