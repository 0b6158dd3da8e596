package transport

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
)

const (
	// maxCandidates bounds a peer's candidates in an ICE session: each makes us send checks to an address that the
	// peer names.
	maxCandidates = 32
	// maxCandidateLine is longer than any that is sent by browsers.
	maxCandidateLine = 512
	candidateFields  = 8 // at least: RFC 8839, section 5.1
)

type candidate = ice.Candidate

// AddCandidate takes a candidate of the peer: "candidate:..." with or without "a=" or "candidate:" before it. What we
// cannot or must not check is passed over without an error (RFC 8838, section 10): names, mDNS ones among them
// (the peer's own checks will show us its address), TCP, multicast, more than 32. Only a malformed line is an error.
func (t *Transport) AddCandidate(line string) error {
	c, err := parseCandidate(line)
	if err != nil || c == nil {
		return err
	}
	t.ice.Lock()
	defer t.ice.Unlock()
	if t.ice.candidates >= maxCandidates {
		return nil
	}
	t.ice.candidates++
	if t.conn.Load() == nil {
		t.ice.waiting = append(t.ice.waiting, c)
		return nil
	}
	if t.ended() {
		return ErrClosed
	}
	return t.agent.AddRemoteCandidate(c)
}

// parseCandidate reads a candidate line. It returns nil for one that is not used.
func parseCandidate(line string) (candidate, error) {
	line = strings.TrimPrefix(strings.TrimPrefix(line, "a="), "candidate:")
	f := strings.Fields(line)
	if len(line) > maxCandidateLine || len(f) < candidateFields || f[6] != "typ" || len(f[0]) > 32 || !iceChars(f[0], 1) {
		return nil, ErrCandidate
	}
	component, err := strconv.ParseUint(f[1], 10, 9)
	if err != nil {
		return nil, fmt.Errorf("%w: component", ErrCandidate)
	}
	priority, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: priority", ErrCandidate)
	}
	port, err := strconv.ParseUint(f[5], 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%w: port", ErrCandidate)
	}
	addr, err := netip.ParseAddr(f[4])
	if err != nil || component != 1 || port == 0 || !strings.EqualFold(f[2], "udp") || !sendable(addr) {
		return nil, nil //nolint:nilnil,nilerr // not used
	}
	return newRemote(f[7], f[0], addr.Unmap(), uint16(port), uint32(priority))
}

// newRemote makes a remote candidate. Only its address and priority ever matter to us.
func newRemote(typ, foundation string, addr netip.Addr, port uint16, priority uint32) (candidate, error) {
	switch typ {
	case "host", "srflx", "prflx", "relay":
	default:
		return nil, nil //nolint:nilnil // a type of the future: RFC 8839, section 5.1
	}
	c, err := ice.NewCandidateHost(&ice.CandidateHostConfig{
		Network: "udp", Address: addr.String(), Port: int(port), Component: 1,
		Priority: priority, Foundation: foundation,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCandidate, err)
	}
	return c, nil
}

// sendable reports whether the server may send checks to addr: a unicast address that is not where clouds answer
// questions about a machine's secrets.
func sendable(addr netip.Addr) bool {
	if addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	return !addr.IsUnspecified() && !addr.IsMulticast() &&
		addr != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		addr != netip.AddrFrom4([4]byte{169, 254, 169, 254}) &&
		addr != netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54})
}

// Types of candidates in the order of preference: RFC 8445, section 5.1.2.1. TCP is for those whom UDP does not reach
// (RFC 6544, section 4.2).
const (
	hostPreference, mappedPreference, tcpPreference = 126, 100, 90
)

// describe writes what is advertised, the best of each type first: each has a local preference of its own.
func (a advertised) describe() []string {
	var lines []string
	add := func(addrs []netip.AddrPort, protocol string, preference uint32, rest string) {
		for _, at := range addrs {
			const localPreference, component = 65535, 1
			i := len(lines)
			priority := preference<<24 | (localPreference-uint32(i))<<8 | (256 - component)
			lines = append(lines, fmt.Sprintf("candidate:%d %d %s %d %s %d typ %s",
				i+1, component, protocol, priority, at.Addr(), at.Port(), rest))
		}
	}
	add(a.host, "udp", hostPreference, "host")
	add(a.mapped, "udp", mappedPreference, "srflx raddr 0.0.0.0 rport 0")
	add(a.tcp, "tcp", tcpPreference, "host tcptype passive")
	return lines
}
