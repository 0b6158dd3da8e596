package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// must makes a check of the strong kind.
func must(id, section, title string, run func(context.Context, *probe) error) Check {
	return Check{ID: id, Section: section, Title: title, Level: Must, run: run}
}

func should(id, section, title string, run func(context.Context, *probe) error) Check {
	return Check{ID: id, Section: section, Title: title, Level: Should, run: run}
}

// opened is a check of what a POST opens.
func opened(check func(p *probe, s session) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		return check(p, s)
	}
}

// posted is a check of how a POST is answered.
func posted(contentType, body string, allowed ...int) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		if body == "" {
			body = newOffer(p.protocol).String()
		}
		got, err := p.do(ctx, request{method: http.MethodPost, contentType: contentType, body: strings.TrimPrefix(body, "empty")})
		if err != nil {
			return err
		}
		p.remember(got)
		return want("POST", got, allowed...)
	}
}

// offered is a check of how an offer that was changed is answered.
func offered(change func(o *offer), allowed ...int) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		o := newOffer(p.protocol)
		change(&o)
		got, err := p.post(ctx, o.String())
		if err != nil {
			return err
		}
		return want("POST", got, allowed...)
	}
}

func postChecks() []Check {
	return []Check{
		must("post-created", "4.2", "POST of an offer is answered 201",
			opened(func(*probe, session) error { return nil })),
		must("post-answer-type", "4.2", "the answer is application/sdp", opened(func(_ *probe, s session) error {
			if t, _, _ := strings.Cut(s.created.header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(t), typeSDP) {
				return fmt.Errorf("Content-Type %q", s.created.header.Get("Content-Type"))
			}
			return nil
		})),
		must("post-location", "4.2", "Location is the URL of the session, not of the endpoint",
			opened(func(p *probe, s session) error {
				if s.url == p.endpoint {
					return errors.New("the session has the endpoint's URL")
				}
				return nil
			})),
		should("post-type-parameters", "RFC 9110 8.3.1", "a media type with a parameter is taken",
			posted(typeSDP+"; charset=utf-8", "", 201)),
		should("post-type-case", "RFC 9110 8.3.1", "a media type in capitals is taken",
			posted("Application/SDP", "", 201)),
		must("post-wrong-type", "4.2", "another media type is refused", posted("application/json", "", 400)),
		should("post-wrong-type-415", "RFC 9110 15.5.16", "another media type is answered 415",
			posted("text/plain", "", 415)),
		should("post-accept", "RFC 9110 12.5.1", "who takes no SDP is answered 406", unacceptable),
		must("post-malformed", "4.2", "malformed SDP is refused", posted(typeSDP, "this is no SDP", 400)),
		must("post-empty", "4.2", "an empty body is refused", posted(typeSDP, "empty", 400)),
		must("post-truncated", "4.2", "SDP that ends in a line is refused",
			posted(typeSDP, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=vid", 400)),
		must("post-huge", "5", "a body of a megabyte is refused, not parsed",
			posted(typeSDP, "v=0\r\n"+strings.Repeat("a=x\r\n", 1<<20/5), 400)),
		should("post-huge-413", "RFC 9110 15.5.14", "a body of a megabyte is answered 413",
			posted(typeSDP, "v=0\r\n"+strings.Repeat("a=x\r\n", 1<<20/5), 413)),
		must("post-many-sections", "5", "a thousand media sections are refused", posted(typeSDP, manySections(), 400)),
		must("post-inactive", "4.2", "an inactive offer is refused",
			offered(func(o *offer) { o.direction = "inactive" }, 400)),
		must("post-wrong-way", "4.2", "an offer of the other direction is refused",
			func(ctx context.Context, p *probe) error {
				return offered(func(o *offer) { o.direction = map[string]string{"whip": "recvonly", "whep": "sendonly"}[p.protocol] }, 400)(ctx, p)
			}),
		should("post-sendrecv", "4.2", "a sendrecv offer is taken",
			offered(func(o *offer) { o.direction = "sendrecv" }, 201)),
		must("post-two-videos", "4.4.2", "two tracks of a kind are taken or refused with 400 or 422",
			offered(func(o *offer) { o.videos = 2 }, 201, 400, 422, 406)),
		must("post-no-codec", "RFC 3264 6", "an offer without a common codec is refused, not half taken",
			offered(unknownCodec, 400)),
		must("post-setup-active", "RFC 8842 5.1", "a DTLS client is taken, or refused with 400 or 422",
			offered(func(o *offer) { o.setup = "active" }, 201, 400, 422)),
		must("post-setup-passive", "RFC 8842 5.1", "an offer of a DTLS server is taken, or refused",
			offered(func(o *offer) { o.setup = "passive" }, 201, 400)),
		must("post-short-ufrag", "RFC 8839 5.4", "ICE credentials that are too short are refused",
			offered(func(o *offer) { o.ufrag, o.pwd = "x", "y" }, 400)),
		must("post-no-candidates", "4.3.2", "an offer without candidates is taken",
			offered(func(o *offer) { o.candidates = false }, 201)),
		must("post-no-redirect", "4.5", "POST is never answered 301 or 302", func(ctx context.Context, p *probe) error {
			got, err := p.post(ctx, newOffer(p.protocol).String())
			if err == nil && (got.status == 301 || got.status == 302) {
				err = fmt.Errorf("POST: %d", got.status)
			}
			return err
		}),
	}
}

// sessionChecks are about the session that a POST opens.
func sessionChecks() []Check {
	return []Check{
		should("session-url-random", "5", "session URLs cannot be guessed", sessionURLs),
		must("etag-present", "4.3.1", "201 has an ETag", opened(func(_ *probe, s session) error {
			if s.etag == "" {
				return errors.New("no ETag")
			}
			return nil
		})),
		must("etag-strong", "4.3.1", "the entity-tag is strong and quoted",
			opened(func(_ *probe, s session) error { return strong(s.etag) })),
		must("etag-unique", "4.3.1", "each ICE session has an entity-tag of its own", uniqueETags),
		must("ice-servers", "4.6", "Link headers name ICE servers as the text says",
			opened(func(_ *probe, s session) error {
				return iceServers(s.created.header)
			})),
	}
}

// unacceptable posts an offer and wants something else than an answer. WHEP has another use for 406.
func unacceptable(ctx context.Context, p *probe) error {
	if p.protocol != "whip" {
		return skip("406 is a counter-offer here")
	}
	got, err := p.do(ctx, request{
		method: http.MethodPost, contentType: typeSDP, body: newOffer(p.protocol).String(), header: http.Header{"Accept": {"image/png"}},
	})
	if err != nil {
		return err
	}
	p.remember(got)
	return want("POST", got, 406)
}

func unknownCodec(o *offer) {
	o.videoFormats, o.video = "97", []string{"a=rtpmap:97 NOSUCHCODEC/90000"}
}

func manySections() string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", 1000)
}

func sessionURLs(ctx context.Context, p *probe) error {
	var last []string
	for range 2 {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		u, err := url.Parse(s.url)
		if err != nil {
			return err
		}
		last = append(last, path.Base(u.Path)+u.RawQuery)
	}
	if guessable(last[0], last[1]) {
		return fmt.Errorf("%q is followed by %q", last[0], last[1])
	}
	return nil
}

// guessable reports whether too little changes from one name to the next: what both begin with is no secret, and of what
// is, hardly two characters would be the same. A counter or a clock changes in a few places at the end.
func guessable(a, b string) bool {
	const secret, changed = 12, 8
	n := min(len(a), len(b))
	common := 0
	for common < n && a[common] == b[common] {
		common++
	}
	differ := 0
	for i := common; i < n; i++ {
		if a[i] != b[i] {
			differ++
		}
	}
	return n-common < secret || differ < changed
}

// strong holds an entity-tag to RFC 9110, section 8.8.3.
func strong(etag string) error {
	if len(etag) < 3 || etag[0] != '"' || etag[len(etag)-1] != '"' || strings.ContainsAny(etag[1:len(etag)-1], "\" \t") {
		return fmt.Errorf("ETag %s is no strong entity-tag", etag)
	}
	return nil
}

func uniqueETags(ctx context.Context, p *probe) error {
	seen := map[string]bool{}
	for range 3 {
		s, err := p.open(ctx)
		if err != nil {
			return err
		}
		if seen[s.etag] {
			return fmt.Errorf("ETag %s came twice", s.etag)
		}
		seen[s.etag] = true
	}
	return nil
}

// iceServers holds Link headers to RFC 8288 and RFC 9725, section 4.6.
func iceServers(h http.Header) error {
	for _, link := range splitLinks(h) {
		target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok {
			return fmt.Errorf("the Link header %q", link)
		}
		if !strings.Contains(params, "ice-server") {
			continue
		}
		u, err := url.Parse(target)
		if err != nil || strings.Contains(target, "%3A") || strings.Contains(target, "%3F") {
			return fmt.Errorf("the Link target %q (%w)", target, err)
		}
		switch u.Scheme {
		case "stun", "stuns":
		case "turn", "turns":
			if !strings.Contains(params, "username=") || !strings.Contains(params, "credential=") {
				return fmt.Errorf("%s has no credentials: %q", target, params)
			}
			if _, kind, ok := strings.Cut(params, "credential-type="); ok && !strings.HasPrefix(strings.Trim(kind, `"`), "password") {
				return fmt.Errorf("%s has credentials of type %q", target, kind)
			}
		default:
			return fmt.Errorf("the Link target %q is no STUN or TURN server", target)
		}
		if strings.Count(params, `"`)%2 != 0 {
			return fmt.Errorf("quotes of %q", params)
		}
	}
	return nil
}

// splitLinks splits Link headers that stand in one line.
func splitLinks(h http.Header) []string {
	var out []string
	for _, line := range h.Values("Link") {
		quoted, start := false, 0
		for i := range len(line) {
			switch {
			case line[i] == '"' && (i == 0 || line[i-1] != '\\'):
				quoted = !quoted
			case line[i] == ',' && !quoted:
				out = append(out, line[start:i])
				start = i + 1
			}
		}
		out = append(out, line[start:])
	}
	return out
}
