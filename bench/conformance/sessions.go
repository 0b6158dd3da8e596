package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// patched is a check of how a PATCH of a new session is answered.
func patched(ifMatch func(s session) string, fragment func(s session) string, allowed ...int) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		got, err := p.patch(ctx, s, ifMatch(s), fragment(s))
		if err != nil {
			return err
		}
		return want("PATCH", got, allowed...)
	}
}

func current(s session) string { return s.etag }

func tag(v string) func(session) string { return func(session) string { return v } }

func trickle(candidates ...string) func(session) string {
	return func(s session) string { return s.offer.fragment(candidates...) }
}

func patchChecks() []Check {
	host := trickle(hostCandidate)
	return []Check{
		must("trickle", "4.3.2", "PATCH with candidates: 204 without content and ETag",
			func(ctx context.Context, p *probe) error {
				s, err := p.open(ctx)
				if err != nil {
					return err
				}
				got, err := p.patch(ctx, s, s.etag, s.offer.fragment(hostCandidate))
				switch {
				case err != nil:
					return err
				case got.header.Get("ETag") != "":
					return fmt.Errorf("ETag %s", got.header.Get("ETag"))
				case got.body != "":
					return fmt.Errorf("content %.80q", got.body)
				}
				return want("PATCH", got, 204)
			}),
		must("trickle-tcp", "4.3.2", "candidates of a transport that is not supported are dropped in silence",
			patched(current, trickle("1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active", "2 1 sctp 1 192.0.2.1 9 typ host"), 204)),
		must("trickle-mdns", "4.3.2", "candidates whose name is not resolved are dropped in silence",
			patched(current, trickle("1 1 udp 2122260223 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 5000 typ host"), 204)),
		must("trickle-end", "RFC 8840 4.4", "end-of-candidates is taken", patched(current, func(s session) string {
			return s.offer.fragment() + "a=end-of-candidates\r\n"
		}, 204)),
		must("trickle-list", "RFC 9110 13.1.1", "If-Match may be a list",
			patched(func(s session) string { return `"other", ` + s.etag }, host, 204)),
		must("patch-no-if-match", "4.3.1", "PATCH without If-Match: 428", patched(tag(""), host, 428)),
		must("patch-stale", "4.3.1", "PATCH with another entity-tag: 412", patched(tag(`"no-such-tag"`), host, 412)),
		must("patch-weak", "RFC 9110 13.1.1", "a weak entity-tag never matches: 412",
			patched(func(s session) string { return "W/" + s.etag }, host, 412)),
		must("patch-wrong-type", "4.3.1", "PATCH of another media type is refused",
			func(ctx context.Context, p *probe) error {
				s, err := p.open(ctx)
				if err != nil {
					return err
				}
				got, err := p.do(ctx, request{
					method: http.MethodPatch, url: s.url, contentType: "text/plain", body: s.offer.fragment(hostCandidate),
					header: http.Header{"If-Match": {s.etag}},
				})
				return errors.Join(err, want("PATCH", got, 400))
			}),
		must("patch-malformed", "4.3.1", "a malformed fragment is refused", patched(current, tag("no fragment"), 400)),
		must("patch-bad-candidate", "4.3.1", "a malformed candidate is refused",
			patched(current, trickle("what is this"), 400, 204)),
		must("patch-empty", "4.3.1", "an empty fragment is refused", patched(current, tag(""), 400)),
		must("patch-huge", "5", "a fragment of a megabyte is refused",
			patched(current, tag(strings.Repeat("a=x\r\n", 1<<20/5)), 400)),
	}
}

// restartChecks are about ICE restarts.
func restartChecks() []Check {
	return []Check{
		must("restart", "4.3.3", "PATCH with new ICE credentials: 200 with a fragment", restarted("*", nil)),
		must("restart-quoted", "4.3.3", "If-Match: \"*\", as the example prints it, works", restarted(`"*"`, nil)),
		must("restart-etag", "4.3.3", "a restart has a new, strong entity-tag",
			restarted("*", func(s session, got response, _ description) error {
				if got.header.Get("ETag") == s.etag {
					return errors.New("the ETag is the old one")
				}
				return strong(got.header.Get("ETag"))
			})),
		must("restart-type", "4.3.3", "a restart is answered with application/trickle-ice-sdpfrag",
			restarted("*", func(_ session, got response, _ description) error {
				if t := got.header.Get("Content-Type"); !strings.HasPrefix(strings.ToLower(t), typeSDPFrag) {
					return fmt.Errorf("Content-Type %q", t)
				}
				return nil
			})),
		must("restart-credentials", "4.3.3", "a restart has new ICE credentials",
			restarted("*", func(s session, _ response, d description) error {
				if d.first("ice-ufrag") == s.answer.first("ice-ufrag") || d.first("ice-pwd") == s.answer.first("ice-pwd") {
					return errors.New("they are the old ones")
				}
				return credentials(d)
			})),
		should("restart-candidates", "4.3.3", "a restart has the server's candidates",
			restarted("*", func(_ session, _ response, d description) error {
				return candidates(d.all("candidate"))
			})),
		must("restart-options", "4.3.3", "a restart has the same ice-options, ice-lite and ice-pacing as the answer",
			restarted("*", sameOptions)),
		must("restart-old-etag", "4.3.1", "after a restart, the entity-tag before is answered 412",
			afterRestart(func(_ string, s session) string { return s.etag }, 412)),
		must("restart-new-etag", "4.3.1", "after a restart, the new entity-tag is taken",
			afterRestart(func(fresh string, _ session) string { return fresh }, 204)),
		must("restart-twice", "4.3.1", "every restart has an entity-tag of its own", restartedTwice),
		must("restart-failed", "4.3.3", "a restart that is refused leaves the session as it was", failedRestart),
		must("patch-overlap", "4.3.1", "overlapping PATCHes leave the session in order", overlapping),
		must("patch-gone", "RFC 9110 15.5.5", "PATCH after DELETE: 404", func(ctx context.Context, p *probe) error {
			s, err := p.open(ctx)
			if err != nil {
				return err
			}
			if _, err := p.do(ctx, request{method: http.MethodDelete, url: s.url}); err != nil {
				return err
			}
			got, err := p.patch(ctx, s, s.etag, s.offer.fragment(hostCandidate))
			return errors.Join(err, want("PATCH", got, 404, 410))
		}),
	}
}

// restart restarts ICE of a session.
func (p *probe) restart(ctx context.Context, s session, ifMatch string) (response, description, error) {
	got, err := p.patch(ctx, s, ifMatch, s.offer.restarted().fragment(hostCandidate))
	if err != nil {
		return got, description{}, err
	}
	if got.status == http.StatusUnprocessableEntity {
		return got, description{}, skip("the server does not restart ICE (422)")
	}
	if err := want("PATCH with new ICE credentials", got, 200); err != nil {
		return got, description{}, err
	}
	d, err := parseFragment(got.body)
	return got, d, err
}

func restarted(ifMatch string, check func(s session, got response, d description) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		got, d, err := p.restart(ctx, s, ifMatch)
		if err != nil || check == nil {
			return err
		}
		return check(s, got, d)
	}
}

func sameOptions(s session, _ response, d description) error {
	for _, key := range []string{"ice-options", "ice-pacing"} {
		if s.answer.first(key) != d.first(key) {
			return fmt.Errorf("%s %q, in the answer %q", key, d.first(key), s.answer.first(key))
		}
	}
	if has(s.answer.session, "ice-lite") != has(d.session, "ice-lite") {
		return errors.New("ice-lite differs")
	}
	return nil
}

func afterRestart(ifMatch func(fresh string, s session) string, status int) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		restarted := s
		restarted.offer = s.offer.restarted()
		got, err := p.patch(ctx, s, "*", restarted.offer.fragment(hostCandidate))
		if err != nil {
			return err
		}
		if got.status != http.StatusOK {
			return skip("the server does not restart ICE")
		}
		after, err := p.patch(ctx, s, ifMatch(got.header.Get("ETag"), s), restarted.offer.fragment(hostCandidate))
		return errors.Join(err, want("PATCH", after, status))
	}
}

func restartedTwice(ctx context.Context, p *probe) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	seen := map[string]bool{s.etag: true}
	for range 2 {
		got, _, err := p.restart(ctx, s, "*")
		if err != nil {
			return err
		}
		if seen[got.header.Get("ETag")] {
			return fmt.Errorf("ETag %s came twice", got.header.Get("ETag"))
		}
		seen[got.header.Get("ETag")] = true
	}
	return nil
}

func failedRestart(ctx context.Context, p *probe) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	broken := "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:" + token(4) + "\r\na=ice-pwd:short\r\n"
	got, err := p.patch(ctx, s, "*", broken)
	if err != nil {
		return err
	}
	if err := want("PATCH with a bad password", got, 400); err != nil {
		return err
	}
	got, err = p.patch(ctx, s, s.etag, s.offer.fragment(hostCandidate))
	return errors.Join(err, want("PATCH with the entity-tag before", got, 204))
}

// overlapping sends restarts and candidates at once: each is answered for itself, and the session is one that the last
// entity-tag fits.
func overlapping(ctx context.Context, p *probe) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		etags = map[string]bool{}
		errs  []error
	)
	for i := range 6 {
		all.Go(func() {
			fragment, ifMatch := s.offer.fragment(hostCandidate), s.etag
			if i%2 == 0 {
				fragment, ifMatch = s.offer.restarted().fragment(hostCandidate), "*"
			}
			got, err := p.patch(ctx, s, ifMatch, fragment)
			mu.Lock()
			defer mu.Unlock()
			if got.status == http.StatusOK {
				etags[got.header.Get("ETag")] = true
			}
			if err == nil && got.status >= http.StatusInternalServerError {
				err = want("PATCH", got, 200, 204, 412)
			}
			errs = append(errs, err)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(etags) == 0 {
		return skip("the server does not restart ICE")
	}
	taken := 0
	for etag := range etags {
		got, err := p.patch(ctx, s, etag, "a=mid:0\r\na=end-of-candidates\r\n")
		if err != nil {
			return err
		}
		if got.status == http.StatusNoContent {
			taken++
		}
	}
	if taken != 1 {
		return fmt.Errorf("%d of %d entity-tags are current", taken, len(etags))
	}
	return nil
}

func deleteChecks() []Check {
	return []Check{
		must("delete", "4.2", "DELETE of a session: 2xx", deleted(nil)),
		should("delete-200", "4.2", "DELETE of a session is answered 200", func(ctx context.Context, p *probe) error {
			s, err := p.open(ctx)
			if err != nil {
				return err
			}
			got, err := p.do(ctx, request{method: http.MethodDelete, url: s.url})
			return errors.Join(err, want("DELETE", got, 200))
		}),
		must("delete-etag", "4.3.1", "DELETE ignores entity-tags", deleted(http.Header{"If-Match": {`"no-such-tag"`}})),
		must("delete-twice", "RFC 9110 15.5.5", "a second DELETE: 404", func(ctx context.Context, p *probe) error {
			s, err := p.open(ctx)
			if err != nil {
				return err
			}
			var got response
			for range 2 {
				if got, err = p.do(ctx, request{method: http.MethodDelete, url: s.url}); err != nil {
					return err
				}
			}
			return want("second DELETE", got, 404, 410)
		}),
		must("delete-guess", "5", "DELETE of a session that was made up: 4xx, and the others live on",
			func(ctx context.Context, p *probe) error {
				s, err := p.open(ctx)
				if err != nil {
					return err
				}
				got, err := p.do(ctx, request{method: http.MethodDelete, url: s.url + "x"})
				if err != nil {
					return err
				}
				if err := want("DELETE of another URL", got, 400); err != nil {
					return err
				}
				got, err = p.do(ctx, request{method: http.MethodDelete, url: s.url})
				return errors.Join(err, success("DELETE of the session", got))
			}),
	}
}

func deleted(header http.Header) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		got, err := p.do(ctx, request{method: http.MethodDelete, url: s.url, header: header})
		return errors.Join(err, success("DELETE", got))
	}
}
