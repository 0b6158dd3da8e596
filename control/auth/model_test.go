package auth_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/store/storetest"
)

// accountModel is what one user's sessions and letters must be, in memory.
type accountModel struct {
	*env
	password string
	now      time.Duration
	sessions []*modelSession
	letters  []*modelLetter
}

type modelSession struct {
	browser *browser
	expires time.Duration
	ended   bool
}

type modelLetter struct {
	token   string
	expires time.Duration
	used    bool
}

func (m *accountModel) endAll(but *modelSession) {
	for _, s := range m.sessions {
		s.ended = s.ended || s != but
	}
}

func (m *accountModel) open() []*modelSession {
	return slices.DeleteFunc(slices.Clone(m.sessions), func(s *modelSession) bool { return s.ended || m.now >= s.expires })
}

// TestAccountModel does what people and thieves do to an account in any order:
// a session holds exactly as long as the model says, and a letter's token works
// once, for an hour, and not after another change of the password.
func TestAccountModel(t *testing.T) {
	t.Parallel()
	passwords := []string{testPassword, newPassword, "a third password"}
	e := newEnv(t)
	rapid.Check(t, func(r *rapid.T) {
		e.offset.Store(0)
		m := &accountModel{env: e, password: testPassword}
		email := storetest.ID() + "@example.org"
		m.signUp(email)
		setPassword := func(password string) {
			m.password = password
			for _, l := range m.letters {
				l.used = true
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"sign in": func(r *rapid.T) {
				password := rapid.SampledFrom(passwords).Draw(r, "password")
				remember := rapid.Bool().Draw(r, "remember")
				b := m.browser()
				a := b.post("/sign-in/email", map[string]any{"email": email, "password": password, "rememberMe": remember})
				if (a.status == 200) != (password == m.password) {
					r.Fatalf("got %d %s with the right password %v", a.status, a.body, password == m.password)
				}
				ttl := 24 * time.Hour
				if remember {
					ttl *= 7
				}
				if a.status == 200 {
					m.sessions = append(m.sessions, &modelSession{browser: b, expires: m.now + ttl})
				}
			},
			"sign out": func(r *rapid.T) {
				if open := m.open(); len(open) > 0 {
					s := rapid.SampledFrom(open).Draw(r, "session")
					s.browser.want(s.browser.post("/sign-out", "{}"), 200, "")
					s.ended = true
				}
			},
			"revoke others": func(r *rapid.T) {
				if open := m.open(); len(open) > 0 {
					s := rapid.SampledFrom(open).Draw(r, "session")
					s.browser.want(s.browser.post("/revoke-other-sessions", "{}"), 200, "")
					m.endAll(s)
					for _, l := range m.letters {
						l.used = true
					}
				}
			},
			"change password": func(r *rapid.T) {
				if open := m.open(); len(open) > 0 {
					s := rapid.SampledFrom(open).Draw(r, "session")
					next := rapid.SampledFrom(passwords).Draw(r, "password")
					revoke := rapid.Bool().Draw(r, "revoke")
					s.browser.want(s.browser.post("/change-password", map[string]any{
						"currentPassword": m.password, "newPassword": next, "revokeOtherSessions": revoke,
					}), 200, "")
					setPassword(next)
					if revoke { // also here: the browser has a new one
						m.endAll(s)
						lasting := s.expires-m.now > 24*time.Hour
						s.expires = m.now + 24*time.Hour
						if lasting {
							s.expires = m.now + 7*24*time.Hour
						}
					}
				}
			},
			"ask for a letter": func(*rapid.T) {
				m.env.letters.take()
				b := m.browser()
				b.want(b.post("/request-password-reset", map[string]string{"email": email}), 200, "")
				_, path := m.letter(email)
				m.letters = append(m.letters, &modelLetter{token: m.env.open(path).Query().Get("token"), expires: m.now + time.Hour})
			},
			"use a letter": func(r *rapid.T) {
				if len(m.letters) == 0 {
					return
				}
				l := rapid.SampledFrom(m.letters).Draw(r, "letter")
				next := rapid.SampledFrom(passwords).Draw(r, "password")
				b := m.browser()
				a := b.post("/reset-password", map[string]string{"newPassword": next, "token": l.token})
				if works := !l.used && m.now < l.expires; (a.status == 200) != works {
					r.Fatalf("got %d %s, want it to work %v", a.status, a.body, works)
				}
				if a.status == 200 {
					setPassword(next)
					m.endAll(nil)
				}
			},
			"wait": func(r *rapid.T) {
				// Less than a day, in which sessions are not prolonged.
				m.now += time.Duration(rapid.IntRange(1, 100).Draw(r, "minutes")) * time.Minute
				m.offset.Store(int64(m.now))
			},
			"": func(r *rapid.T) {
				if m.now >= 23*time.Hour {
					return // they are prolonged from now on: see TestSessionAges
				}
				for i, s := range m.sessions {
					want := !s.ended && m.now < s.expires
					if got := s.browser.user() != nil; got != want {
						r.Fatalf("session %d: signed in %v, want %v", i, got, want)
					}
				}
			},
		})
	})
}
