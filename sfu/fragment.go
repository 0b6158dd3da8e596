package sfu

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// fragment is what a trickle fragment tells: RFC 8840, section 9.
type fragment struct {
	ufrag, pwd string // empty if not given
	candidates []string
}

// parseFragment reads application/trickle-ice-sdpfrag. Candidates that this server cannot use are left out; lines it
// does not know are ignored.
func parseFragment(raw []byte) (fragment, error) {
	var f fragment
	if len(raw) == 0 || len(raw) > maxOffer {
		return f, fmt.Errorf("%w: fragment of size %d", ErrBadOffer, len(raw))
	}
	for line := range bytes.Lines(raw) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			continue
		}
		if len(text) < 2 || text[1] != '=' || strings.ContainsRune(text, '\r') {
			return f, fmt.Errorf("%w: fragment line", ErrBadOffer)
		}
		key, value, _ := strings.Cut(text[2:], ":")
		switch {
		case text[0] != 'a':
		case key == "ice-ufrag", key == "ice-pwd":
			if !f.take(key, value) {
				return f, fmt.Errorf("%w: ICE credentials", ErrBadOffer)
			}
		case key == "candidate":
			if !wellFormed(value) {
				return f, fmt.Errorf("%w: candidate", ErrBadOffer)
			}
			if usable(value) && len(f.candidates) < maxCandidates {
				f.candidates = append(f.candidates, value)
			}
		}
	}
	return f, nil
}

// take keeps ICE credentials: RFC 8839, section 5.4. All sections have the same, as they share a transport.
func (f *fragment) take(key, value string) bool {
	credential, least := &f.ufrag, 4
	if key == "ice-pwd" {
		credential, least = &f.pwd, 22
	}
	if !iceChars(value, least) || *credential != "" && *credential != value {
		return false
	}
	*credential = value
	return true
}

// candidateFields is the least number of fields of a candidate: RFC 8839, section 5.1.
const candidateFields = 8

// wellFormed reports whether a candidate-attribute follows the grammar as far as it is read here.
func wellFormed(candidate string) bool {
	// Who reads it later must see the same fields: there is no white space but the blank.
	if strings.ContainsFunc(candidate, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return false
	}
	f := strings.Fields(candidate)
	if len(f) < candidateFields || len(f[0]) > 32 || f[6] != "typ" {
		return false
	}
	_, component := strconv.ParseUint(f[1], 10, 8)
	_, priority := strconv.ParseUint(f[3], 10, 32)
	_, port := strconv.ParseUint(f[5], 10, 16)
	return component == nil && priority == nil && port == nil
}

// usable reports whether the server can and may send checks to a candidate: UDP, a literal unicast address. Names are
// not resolved: mDNS ones mean nothing here, and others would let a peer choose what the server asks its resolver.
func usable(candidate string) bool {
	if !wellFormed(candidate) {
		return false
	}
	f := strings.Fields(candidate)
	addr, err := netip.ParseAddr(f[4])
	if err != nil || addr.Zone() != "" || !strings.EqualFold(f[2], "udp") || f[1] != "1" || f[5] == "0" {
		return false
	}
	switch f[7] {
	case "host", "srflx", "prflx", "relay":
	default:
		return false
	}
	addr = addr.Unmap()
	return !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLinkLocalUnicast() && !special(addr)
}

// special reports whether addr is broadcast, or where clouds answer questions about a machine's secrets.
func special(addr netip.Addr) bool {
	switch addr {
	case netip.AddrFrom4([4]byte{255, 255, 255, 255}),
		netip.AddrFrom4([4]byte{100, 100, 100, 200}),                              // Alibaba
		netip.AddrFrom4([4]byte{168, 63, 129, 16}),                                // Azure
		netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54}), // Amazon
		netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 15: 0x23}):           // Amazon, containers
		return true
	}
	nat64 := netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96)
	return nat64.Contains(addr) // any IPv4 address in disguise: RFC 6052, section 2.1
}
