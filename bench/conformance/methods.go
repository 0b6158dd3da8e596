package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const origin = "https://player.example"

// asked is a check of how the endpoint answers a method.
func asked(method string, check func(got response) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		got, err := p.do(ctx, request{method: method})
		if err != nil {
			return err
		}
		return check(got)
	}
}

// askedSession is the same for a session.
func askedSession(method string, check func(got response) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		got, err := p.do(ctx, request{method: method, url: s.url, contentType: typeSDP, body: "x"})
		if err != nil {
			return err
		}
		return check(got)
	}
}

func noContent(got response) error {
	if got.body != "" {
		return fmt.Errorf("there is content: %.80q", got.body)
	}
	return success("the answer", got)
}

func notAllowed(got response) error {
	if got.status == http.StatusMethodNotAllowed && got.header.Get("Allow") == "" {
		return errors.New("405 without Allow (RFC 9110, section 15.5.6)")
	}
	return want("the answer", got, 405, 501)
}

// preflight asks as a browser does before it posts.
func preflight(check func(got response) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		got, err := p.do(ctx, request{method: http.MethodOptions, token: "-", header: http.Header{
			"Origin": {origin}, "Access-Control-Request-Method": {"POST"},
			"Access-Control-Request-Headers": {"authorization,content-type"},
		}})
		if err != nil {
			return err
		}
		return check(got)
	}
}

func methodChecks() []Check {
	return []Check{
		must("get-endpoint", "4.1", "GET of the endpoint: 2xx without content", asked(http.MethodGet, noContent)),
		must("head-endpoint", "RFC 9110 9.3.2", "HEAD of the endpoint: 2xx", asked(http.MethodHead, noContent)),
		must("get-session", "4.1", "GET of a session: 2xx without content", askedSession(http.MethodGet, noContent)),
		must("put-endpoint", "RFC 9110 15.5.6", "PUT of the endpoint: 405 with Allow",
			asked(http.MethodPut, notAllowed)),
		must("delete-endpoint", "RFC 9110 15.5.6", "DELETE of the endpoint: 405 with Allow",
			asked(http.MethodDelete, notAllowed)),
		must("put-session", "RFC 9110 15.5.6", "PUT of a session: 405 with Allow",
			askedSession(http.MethodPut, notAllowed)),
		must("post-session", "RFC 9110 15.5.6", "POST of a session: 405 with Allow",
			askedSession(http.MethodPost, notAllowed)),
		must("options-endpoint", "4.2", "OPTIONS of the endpoint: 2xx",
			asked(http.MethodOptions, func(got response) error { return success("OPTIONS", got) })),
		should("options-200", "4.2", "OPTIONS of the endpoint is answered 200",
			asked(http.MethodOptions, func(got response) error { return want("OPTIONS", got, 200) })),
		should("options-accept-post", "4.2", "OPTIONS has Accept-Post: application/sdp",
			asked(http.MethodOptions, func(got response) error {
				if !strings.Contains(strings.ToLower(got.header.Get("Accept-Post")), typeSDP) {
					return fmt.Errorf("Accept-Post %q", got.header.Get("Accept-Post"))
				}
				return nil
			})),
		must("options-ice-servers", "4.6", "Link headers of OPTIONS name ICE servers as the text says",
			asked(http.MethodOptions, func(got response) error {
				if !strings.Contains(strings.Join(got.header.Values("Link"), ","), "ice-server") {
					return skip("OPTIONS names none")
				}
				return iceServers(got.header)
			})),
	}
}

// crossOriginChecks are about pages of other origins.
func crossOriginChecks() []Check {
	return []Check{
		must("preflight-public", "4.7.1", "a preflight needs no token",
			preflight(func(got response) error { return success("preflight", got) })),
		must("preflight-origin", "4.2", "a preflight lets other origins in", preflight(func(got response) error {
			if v := got.header.Get("Access-Control-Allow-Origin"); v != "*" && v != origin {
				return fmt.Errorf("Access-Control-Allow-Origin %q", v)
			}
			return nil
		})),
		must("preflight-headers", "4.2", "a preflight allows Authorization and Content-Type",
			preflight(func(got response) error {
				allowed := strings.ToLower(got.header.Get("Access-Control-Allow-Headers"))
				for _, name := range []string{"authorization", "content-type"} { // "*" does not stand for Authorization
					if !strings.Contains(allowed, name) {
						return fmt.Errorf("Access-Control-Allow-Headers %q", allowed)
					}
				}
				return nil
			})),
		must("preflight-session", "4.2", "a preflight of a session allows PATCH, DELETE and If-Match",
			preflightSession),
		should("preflight-no-ice-servers", "4.6", "a preflight names no ICE servers",
			preflight(func(got response) error {
				for _, link := range splitLinks(got.header) {
					if strings.Contains(link, "ice-server") {
						return fmt.Errorf("a Link header: %.80q", link)
					}
				}
				return nil
			})),
		must("cors-expose", "4.2", "pages of other origins can read Location, ETag, Link and Retry-After", exposed),
		must("cors-errors", "4.2", "errors can be read from other origins, too",
			func(ctx context.Context, p *probe) error {
				got, err := p.do(ctx, request{method: http.MethodPost, contentType: "text/plain", body: "x", header: http.Header{"Origin": {origin}}})
				if err != nil {
					return err
				}
				if v := got.header.Get("Access-Control-Allow-Origin"); v != "*" && v != origin {
					return fmt.Errorf("%d with Access-Control-Allow-Origin %q", got.status, v)
				}
				return nil
			}),
		should("problem", "4.1", "errors are problem documents (RFC 9457)", func(ctx context.Context, p *probe) error {
			got, err := p.do(ctx, request{method: http.MethodPost, contentType: typeSDP, body: "no SDP"})
			if err != nil {
				return err
			}
			if t := got.header.Get("Content-Type"); !strings.HasPrefix(t, "application/problem+json") || !json.Valid([]byte(got.body)) {
				return fmt.Errorf("%d with Content-Type %q", got.status, t)
			}
			return nil
		}),
	}
}

func preflightSession(ctx context.Context, p *probe) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		got, err := p.do(ctx, request{method: http.MethodOptions, url: s.url, token: "-", header: http.Header{
			"Origin": {origin}, "Access-Control-Request-Method": {method},
			"Access-Control-Request-Headers": {"authorization,content-type,if-match"},
		}})
		if err != nil {
			return err
		}
		if err := success("preflight", got); err != nil {
			return err
		}
		if v := got.header.Get("Access-Control-Allow-Methods"); !strings.Contains(v, method) && v != "*" {
			return fmt.Errorf("Access-Control-Allow-Methods %q has no %s", v, method)
		}
		if v := strings.ToLower(got.header.Get("Access-Control-Allow-Headers")); !strings.Contains(v, "if-match") && v != "*" {
			return fmt.Errorf("Access-Control-Allow-Headers %q has no If-Match", v)
		}
	}
	return nil
}

func exposed(ctx context.Context, p *probe) error {
	got, err := p.do(ctx, request{
		method: http.MethodPost, contentType: typeSDP, body: newOffer(p.protocol).String(), header: http.Header{"Origin": {origin}},
	})
	if err != nil {
		return err
	}
	p.remember(got)
	names := strings.ToLower(got.header.Get("Access-Control-Expose-Headers"))
	if names == "*" {
		return nil
	}
	for _, name := range []string{"location", "etag", "link", "retry-after"} {
		if !strings.Contains(names, name) {
			return fmt.Errorf("Access-Control-Expose-Headers %q has no %s", names, name)
		}
	}
	return nil
}

func authChecks() []Check {
	return []Check{
		should("https", "5", "the endpoint is reached by HTTPS", secure),
		should("auth-exposed", "RFC 6750 3", "pages of other origins can read WWW-Authenticate", challengeExposed),
		must("auth-none", "4.7.1", "without a token: 401 with WWW-Authenticate: Bearer", refused("-", "")),
		must("auth-wrong", "RFC 6750 3.1", "with a wrong token: 401 with error=\"invalid_token\"",
			refused("wrong."+token(8), "invalid_token")),
		must("auth-scope", "RFC 6750 3.1", "with a token for the other way: 403 with error=\"insufficient_scope\"", otherWay),
		must("auth-session", "4.7.1", "a session's DELETE and PATCH need the token", sessionNeedsToken),
	}
}

// refused checks that a POST with this token is refused, and says why.
func refused(token, errorCode string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		if p.token == "" {
			return skip("the server was given no token")
		}
		got, err := p.do(ctx, request{method: http.MethodPost, token: token, contentType: typeSDP, body: newOffer(p.protocol).String()})
		if err != nil {
			return err
		}
		p.remember(got)
		if err := want("POST", got, 401); err != nil {
			return err
		}
		challenge := got.header.Get("WWW-Authenticate")
		if !strings.HasPrefix(strings.ToLower(challenge), "bearer") || !strings.Contains(challenge, errorCode) {
			return fmt.Errorf("WWW-Authenticate %q", challenge)
		}
		return nil
	}
}

func challengeExposed(ctx context.Context, p *probe) error {
	if p.token == "" {
		return skip("the server was given no token")
	}
	got, err := p.do(ctx, request{
		method: http.MethodPost, token: "-", contentType: typeSDP, body: newOffer(p.protocol).String(), header: http.Header{"Origin": {origin}},
	})
	if err != nil {
		return err
	}
	p.remember(got)
	names := strings.ToLower(got.header.Get("Access-Control-Expose-Headers"))
	if names != "*" && !strings.Contains(names, "www-authenticate") {
		return fmt.Errorf("Access-Control-Expose-Headers %q", names)
	}
	return nil
}

func otherWay(ctx context.Context, p *probe) error {
	if p.other == "" || p.other == p.token {
		return skip("one token is good for both ways")
	}
	got, err := p.do(ctx, request{method: http.MethodPost, token: p.other, contentType: typeSDP, body: newOffer(p.protocol).String()})
	if err != nil {
		return err
	}
	p.remember(got)
	if v := got.header.Get("WWW-Authenticate"); !strings.Contains(v, "insufficient_scope") {
		return fmt.Errorf("%d with WWW-Authenticate %q", got.status, v)
	}
	return want("POST", got, 403)
}

func sessionNeedsToken(ctx context.Context, p *probe) error {
	if p.token == "" {
		return skip("the server was given no token")
	}
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	for _, method := range []string{http.MethodDelete, http.MethodPatch} {
		got, err := p.do(ctx, request{method: method, url: s.url, token: "-", contentType: typeSDPFrag, body: s.offer.fragment()})
		if err != nil {
			return err
		}
		if err := want(method+" without a token", got, 401, 403); err != nil {
			return err
		}
	}
	got, err := p.do(ctx, request{method: http.MethodDelete, url: s.url})
	return errors.Join(err, success("DELETE with the token afterwards", got))
}
