package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// answered is a check of the answer, section by section.
func answered(rule func(p *probe, lines []string) error) func(context.Context, *probe) error {
	return opened(func(p *probe, s session) error {
		return s.answer.each(func(lines []string) error { return rule(p, lines) })
	})
}

func answerChecks() []Check {
	return []Check{
		must("answer-direction", "4.2", "the answer has the one direction that is allowed",
			answered(func(p *probe, lines []string) error {
				direction := map[string]string{"whip": "recvonly", "whep": "sendonly"}[p.protocol]
				if !has(lines, direction) {
					return fmt.Errorf("not %s", direction)
				}
				return nil
			})),
		must("answer-direction-sendrecv", "4.2", "sendrecv is answered with that direction, too",
			sendrecvAnswered),
		must("answer-sections", "RFC 3264 6", "every section of the offer is answered, in its order",
			opened(func(_ *probe, s session) error {
				mids := s.answer.all("mid")
				if !slices.Equal(mids, []string{"0", "1"}) {
					return fmt.Errorf("mids %q, want 0 and 1", mids)
				}
				return nil
			})),
		must("answer-whole", "4.4.3", "no section is rejected", answered(func(_ *probe, lines []string) error {
			f := strings.Fields(lines[0])
			if len(f) < 2 || f[1] == "0" && !has(lines, "bundle-only") {
				return fmt.Errorf("%q", lines[0])
			}
			return nil
		})),
	}
}

// transportChecks are about what the answer says of its transport.
func transportChecks() []Check {
	return []Check{
		must("answer-bundle", "4.4.1", "the sections are bundled", opened(func(_ *probe, s session) error {
			for _, g := range values(s.answer.session, "group") {
				if f := strings.Fields(g); len(f) == 3 && f[0] == "BUNDLE" {
					return nil
				}
			}
			return errors.New("no BUNDLE group of both sections")
		})),
		must("answer-rtcp-mux", "4.4.1", "RTP and RTCP are multiplexed", answered(func(_ *probe, lines []string) error {
			if !has(lines, "rtcp-mux") {
				return errors.New("no rtcp-mux")
			}
			return nil
		})),
		must("answer-rtcp-mux-only", "4.4.1", "every bundled section says rtcp-mux-only",
			answered(func(_ *probe, lines []string) error {
				if !has(lines, "rtcp-mux-only") {
					return errors.New("no rtcp-mux-only")
				}
				return nil
			})),
		must("answer-setup", "RFC 8842 5.2", "the answer chooses a DTLS role", opened(func(_ *probe, s session) error {
			if v := s.answer.first("setup"); v != "active" && v != "passive" {
				return fmt.Errorf("setup %q", v)
			}
			return nil
		})),
		must("answer-fingerprint", "RFC 8122 5", "the answer has a fingerprint of SHA-256 or better",
			opened(func(_ *probe, s session) error {
				for _, v := range s.answer.all("fingerprint") {
					if hash, sum, _ := strings.Cut(v, " "); strings.HasPrefix(strings.ToLower(hash), "sha-") && len(sum) >= 95 {
						return nil
					}
				}
				return fmt.Errorf("fingerprints %q", s.answer.all("fingerprint"))
			})),
		must("answer-credentials", "RFC 8839 5.4", "ICE credentials are long enough",
			opened(func(_ *probe, s session) error {
				return credentials(s.answer)
			})),
		must("answer-candidates", "4.3.2", "the answer has all candidates of the server",
			opened(func(_ *probe, s session) error {
				return candidates(s.answer.all("candidate"))
			})),
	}
}

// formatChecks are about what the answer says of its media.
func formatChecks() []Check {
	return []Check{
		must("answer-formats", "RFC 3264 6.1", "the answer's formats were offered",
			answered(func(_ *probe, lines []string) error {
				for _, pt := range strings.Fields(lines[0])[3:] {
					if !slices.Contains([]string{"96", "102", "111"}, pt) {
						return fmt.Errorf("format %s in %q", pt, lines[0])
					}
				}
				return nil
			})),
		must("answer-no-simulcast", "RFC 8853 5.3.2", "there is no simulcast that was not offered",
			answered(func(_ *probe, lines []string) error {
				if has(lines, "simulcast") || has(lines, "rid") {
					return errors.New("simulcast or rid")
				}
				return nil
			})),
		must("answer-feedback", "RFC 4585 4.2", "there is no feedback that was not offered",
			answered(func(_ *probe, lines []string) error {
				for _, v := range values(lines, "rtcp-fb") {
					if !slices.Contains([]string{"96 nack", "96 nack pli"}, v) {
						return fmt.Errorf("rtcp-fb %q", v)
					}
				}
				return nil
			})),
		must("answer-msid", "4.4.2", "all tracks are of one stream", opened(func(p *probe, s session) error {
			if p.protocol == "whip" {
				return skip("the answer of a receiver has no tracks")
			}
			streams := map[string]bool{}
			for _, lines := range s.answer.sections {
				for _, v := range values(lines, "msid") {
					stream, _, _ := strings.Cut(v, " ")
					streams[stream] = true
				}
			}
			if len(streams) != 1 {
				return fmt.Errorf("%d streams", len(streams))
			}
			return nil
		})),
	}
}

func credentials(d description) error {
	ufrag, pwd := d.first("ice-ufrag"), d.first("ice-pwd")
	if len(ufrag) < 4 || len(pwd) < 22 || len(ufrag) > 256 || len(pwd) > 256 {
		return fmt.Errorf("ufrag %q, pwd of %d characters", ufrag, len(pwd))
	}
	return nil
}

// candidates holds candidate lines to RFC 8839, section 5.1.
func candidates(lines []string) error {
	if len(lines) == 0 {
		return errors.New("no candidates")
	}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) < 8 || f[6] != "typ" {
			return fmt.Errorf("candidate %q", line)
		}
		port, err := strconv.ParseUint(f[5], 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("candidate %q: port", line)
		}
		if strings.EqualFold(f[2], "tcp") && !strings.Contains(line, "tcptype ") {
			return fmt.Errorf("candidate %q: no tcptype (RFC 6544, section 4.5)", line)
		}
	}
	return nil
}

// sendrecvAnswered offers sendrecv.
func sendrecvAnswered(ctx context.Context, p *probe) error {
	o := newOffer(p.protocol)
	o.direction = "sendrecv"
	got, err := p.post(ctx, o.String())
	if err != nil || got.status != 201 {
		return errors.Join(err, skip("sendrecv is not taken"))
	}
	d, err := parse(got.body)
	if err != nil {
		return err
	}
	allowed := map[string][]string{"whip": {"recvonly"}, "whep": {"sendonly", "sendrecv"}}[p.protocol]
	return d.each(func(lines []string) error {
		if !slices.ContainsFunc(allowed, func(a string) bool { return has(lines, a) }) {
			return fmt.Errorf("not %s", strings.Join(allowed, " or "))
		}
		return nil
	})
}
