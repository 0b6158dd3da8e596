package auth

import (
	"context"
	"net/http"

	"github.com/securecam/securecam/control/rest"
)

func (s *Service) mountSessions(r routes) {
	rest.Register(r.api, r.op("listSessions", http.MethodGet, "/list-sessions", "List the user's sessions, newest first", Session),
		s.listSessions)
	rest.Register(r.api, r.op("revokeSession", http.MethodPost, "/revoke-session", "Sign out one session", Session), s.revokeOne)
	rest.Register(r.api, r.op("revokeSessions", http.MethodPost, "/revoke-sessions",
		"Sign out everywhere: ends all sessions, and the tokens of all devices", Session), s.revokeAll)
	rest.Register(r.api, r.op("revokeOtherSessions", http.MethodPost, "/revoke-other-sessions", "Sign out everywhere else", Session),
		s.revokeOthers)
}

type sessionInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
}

type listSessionsOutput struct {
	CacheControl string        `header:"Cache-Control"`
	Body         []sessionView `nullable:"false"`
}

// listSessions shows each session with a handle that ends it, in the place of
// the token: the server keeps only digests of tokens, and a page has no use for
// those of other browsers but to steal them.
func (s *Service) listSessions(ctx context.Context, in *sessionInput) (*listSessionsOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	rows, err := s.store.Sessions(ctx, c.user.ID, s.now(), maxListedSessions)
	if err != nil {
		return nil, err
	}
	out := &listSessionsOutput{CacheControl: "no-store", Body: make([]sessionView, len(rows))}
	for i, row := range rows {
		handle := row.ID
		if row.ID == c.session.ID {
			handle = c.token
		}
		out.Body[i] = viewSession(row, handle)
	}
	return out, nil
}

type revokeInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		Token string `json:"token" minLength:"1" maxLength:"128" doc:"As listed"`
	}
}

func (s *Service) revokeOne(ctx context.Context, in *revokeInput) (*statusOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if err := s.revokeSession(ctx, c, in.Body.Token); err != nil {
		return nil, err
	}
	return statusOK(), nil
}

// emptyInput takes the empty object that Better Auth's client sends.
type emptyInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   *struct{}
}

func (s *Service) revokeAll(ctx context.Context, in *emptyInput) (*statusOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	// Whoever signs out everywhere has lost something, or somebody: devices are
	// where sessions' rights went on.
	if err := s.store.RevokeUser(ctx, c.user.ID, actor(ctx, c.user.ID)); err != nil {
		return nil, err
	}
	return statusOK(), nil
}

func (s *Service) revokeOthers(ctx context.Context, in *emptyInput) (*statusOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if _, err := s.store.DeleteSessions(ctx, c.user.ID, c.session.ID, actor(ctx, c.user.ID)); err != nil {
		return nil, err
	}
	return statusOK(), nil
}
