package sfu

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

const hostCandidate = "1 1 udp 2130706431 192.0.2.7 5000 typ host"

func TestParseFragment(t *testing.T) {
	t.Parallel()
	lines := func(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }
	tests := []struct {
		name string
		raw  string
		want []string
		err  error
	}{
		{
			"as in RFC 9725", lines("a=group:BUNDLE 0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=ice-ufrag:EsAw",
				"a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", "a=candidate:"+hostCandidate, "a=end-of-candidates"),
			[]string{hostCandidate},
			nil,
		},
		{"bare newlines", "a=mid:0\na=candidate:" + hostCandidate + " generation 0\n", []string{hostCandidate + " generation 0"}, nil},
		{"end of candidates", lines("a=end-of-candidates"), nil, nil},
		{
			"IPv6", lines("a=candidate:1 1 UDP 1 2001:db8::1 5000 typ srflx raddr ::1 rport 1"),
			[]string{"1 1 UDP 1 2001:db8::1 5000 typ srflx raddr ::1 rport 1"},
			nil,
		},
		{"mDNS is dropped", lines("a=candidate:1 1 udp 1 0aa1.local 5000 typ host"), nil, nil},
		{"names are dropped", lines("a=candidate:1 1 udp 1 example.com 5000 typ host"), nil, nil},
		{"TCP is dropped", lines("a=candidate:1 1 tcp 1 192.0.2.7 9 typ host tcptype active"), nil, nil},
		{"RTCP component is dropped", lines("a=candidate:1 2 udp 1 192.0.2.7 5000 typ host"), nil, nil},
		{"unknown type is dropped", lines("a=candidate:1 1 udp 1 192.0.2.7 5000 typ carrier"), nil, nil},
		{"multicast is dropped", lines("a=candidate:1 1 udp 1 224.0.0.1 5000 typ host"), nil, nil},
		{"broadcast is dropped", lines("a=candidate:1 1 udp 1 255.255.255.255 5000 typ host"), nil, nil},
		{
			"metadata is dropped", lines("a=candidate:1 1 udp 1 169.254.169.254 80 typ host",
				"a=candidate:1 1 udp 1 fd00:ec2::254 80 typ host",
				"a=candidate:1 1 udp 1 ::ffff:169.254.169.254 80 typ host"), nil, nil,
		},
		{
			"other metadata is dropped", lines("a=candidate:1 1 udp 1 169.254.170.2 80 typ host",
				"a=candidate:1 1 udp 1 100.100.100.200 80 typ host", "a=candidate:1 1 udp 1 168.63.129.16 80 typ host",
				"a=candidate:1 1 udp 1 fe80::1 80 typ host", "a=candidate:1 1 udp 1 64:ff9b::a9fe:a9fe 80 typ host"), nil, nil,
		},
		{"other white space", lines("a=candidate:F 1 udp\t1\t8.8.8.8\t9\ttyp\thost 1 0.0.0.0 5000 typ host"), nil, ErrBadOffer},
		{"unspecified is dropped", lines("a=candidate:1 1 udp 1 0.0.0.0 80 typ host"), nil, nil},
		{"port 0 is dropped", lines("a=candidate:1 1 udp 1 192.0.2.7 0 typ host"), nil, nil},
		{"zone is dropped", lines("a=candidate:1 1 udp 1 fe80::1%eth0 80 typ host"), nil, nil},
		{"many", strings.Repeat("a=candidate:"+hostCandidate+"\n", 100), slices.Repeat([]string{hostCandidate}, maxCandidates), nil},

		{"empty", "", nil, ErrBadOffer},
		{"too large", strings.Repeat("a=x\r\n", maxOffer/5+1), nil, ErrBadOffer},
		{"no SDP", "hello\r\n", nil, ErrBadOffer},
		{"short line", "a\r\n", nil, ErrBadOffer},
		{"short candidate", lines("a=candidate:1 1 udp"), nil, ErrBadOffer},
		{"bad port", lines("a=candidate:1 1 udp 1 192.0.2.7 70000 typ host"), nil, ErrBadOffer},
		{"bad priority", lines("a=candidate:1 1 udp x 192.0.2.7 7000 typ host"), nil, ErrBadOffer},
		{"no typ", lines("a=candidate:1 1 udp 1 192.0.2.7 7000 type host"), nil, ErrBadOffer},
		{"bad ufrag", lines("a=ice-ufrag:a b"), nil, ErrBadOffer},
		{"bad password", lines("a=ice-pwd:short"), nil, ErrBadOffer},
		{"two passwords", lines("a=ice-pwd:"+strings.Repeat("a", 22), "a=ice-pwd:"+strings.Repeat("b", 22)), nil, ErrBadOffer},
		{"two ufrags", lines("a=ice-ufrag:aaaa", "a=ice-ufrag:bbbb"), nil, ErrBadOffer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := parseFragment([]byte(tt.raw))
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if err == nil && !slices.Equal(f.candidates, tt.want) {
				t.Errorf("got %q, want %q", f.candidates, tt.want)
			}
		})
	}
}

func TestTrickle(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	pc := newPC(t, vp8)
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	full := string(makeOffer(t, pc))
	var bare, candidates, ufrag, pwd string
	for line := range strings.Lines(full) {
		switch {
		case strings.HasPrefix(line, "a=candidate"):
			candidates += line
			continue
		case strings.HasPrefix(line, "a=ice-ufrag"):
			ufrag = line
		case strings.HasPrefix(line, "a=ice-pwd"):
			pwd = line
		}
		bare += line
	}
	a, err := s.Publish(t.Context(), "m", []byte(bare))
	if err != nil {
		t.Fatal(err)
	}
	current := func(fragment string) Update {
		return Update{ETags: []string{`"x"`, a.ETag}, Fragment: []byte(fragment)}
	}
	for _, tt := range []struct {
		update Update
		want   error
	}{
		{current(ufrag + "a=mid:0\r\n" + candidates), nil},
		{current(ufrag + "a=end-of-candidates\r\n"), nil},
		{Update{Any: true, Fragment: []byte(ufrag + pwd)}, nil},
		{Update{ETags: []string{`"x"`}, Fragment: []byte(ufrag)}, ErrStale},
		{Update{Fragment: []byte(ufrag)}, ErrStale},
		{current("a=ice-ufrag:other\r\n" + candidates), ErrBadOffer},
		{current("a=ice-ufrag:other\r\n" + pwd), ErrBadOffer},
		{current(ufrag + "a=ice-pwd:" + strings.Repeat("x", 22)), ErrBadOffer},
		{current("a=candidate:nonsense\r\n"), ErrBadOffer},
	} {
		if u, err := s.Update(t.Context(), a.SessionID, tt.update); !errors.Is(err, tt.want) || u.ETag != "" {
			t.Errorf("%+v: %+v, %v, want %v", tt.update, u, err, tt.want)
		}
	}
	many := current(strings.Repeat("a=candidate:"+hostCandidate+"\n", 30))
	for range 3 {
		if _, err := s.Update(t.Context(), a.SessionID, many); err != nil {
			t.Errorf("many candidates: %v", err)
		}
	}
	if _, err := s.Update(t.Context(), "nobody", current(ufrag)); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
	accept(t, pc, a)
}

// FuzzFragment holds that no fragment makes the parser fail or let through what must not be used.
func FuzzFragment(f *testing.F) {
	f.Add([]byte("a=ice-ufrag:EsAw\r\na=mid:0\r\na=candidate:" + hostCandidate + "\r\na=end-of-candidates\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		frag, err := parseFragment(raw)
		if err != nil {
			if !errors.Is(err, ErrBadOffer) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		for _, c := range frag.candidates {
			if !usable(c) || strings.ContainsAny(c, "\r\n") {
				t.Fatalf("candidate %q", c)
			}
		}
	})
}
