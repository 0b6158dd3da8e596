package sfu

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// hostAddr is an address of this host.
type hostAddr struct {
	addr  netip.Addr
	iface string
}

// bridges are the interfaces that lead to containers and virtual machines on this host, and to nobody else.
func bridges() []string {
	return []string{"docker", "br-", "veth", "virbr", "cni", "podman", "lxc", "lxdbr", "flannel", "cali"}
}

func (a hostAddr) onBridge() bool {
	return slices.ContainsFunc(bridges(), func(prefix string) bool { return strings.HasPrefix(a.iface, prefix) })
}

// unreachable says in words why nobody outside would reach what is offered, and what to do; empty when somebody would.
// host are the addresses that the socket listens on.
func unreachable(host []hostAddr, public []netip.Addr, container bool) string {
	if slices.ContainsFunc(public, func(a netip.Addr) bool { return !a.IsLoopback() }) {
		return ""
	}
	var outside []hostAddr
	for _, a := range host {
		if !a.addr.IsLoopback() && !a.addr.IsLinkLocalUnicast() && !a.onBridge() {
			outside = append(outside, a)
		}
	}
	if len(outside) == 0 {
		return "media is offered on this machine alone: cameras and viewers on others cannot connect. " +
			"Listen on another address (LISTEN_HOST) or announce one (PUBLIC_IPS)"
	}
	if container && private(outside) {
		return fmt.Sprintf("media is offered at %s, which is inside a container: nobody outside of it can connect. "+
			"Set PUBLIC_IPS to the address of the machine that the container runs on", outside[0].addr)
	}
	return ""
}

// private reports whether the Internet reaches none of the addresses.
func private(addrs []hostAddr) bool {
	return !slices.ContainsFunc(addrs, func(a hostAddr) bool { return routable(a.addr) })
}

// local says in words that devices in other networks would not reach what is offered, which is as it should be on a
// machine that nobody watches from outside, and not on one behind NAT; empty when they would. public are all addresses
// that are announced beside those of the host.
func local(host []hostAddr, public []netip.Addr) string {
	if !private(host) || slices.ContainsFunc(public, routable) {
		return ""
	}
	return "media is offered at addresses of this network alone: devices in others find no way to it. " +
		"On a machine behind NAT, as in most clouds, set PUBLIC_IPS to its public address, or STUN_URLS to find it out"
}

// Unreachable says in words, as sentences, why devices elsewhere may not reach what is offered now, and what to do; empty
// when nothing is known against it.
func (s *SFU) Unreachable() string {
	public := slices.Clone(s.cfg.PublicIPs)
	for _, a := range s.socket.mapped.addrs() {
		public = append(public, a.Addr())
	}
	why := unreachable(s.reach, public, inContainer())
	if why == "" {
		why = local(s.reach, public)
	}
	if why == "" {
		return ""
	}
	return strings.ToUpper(why[:1]) + why[1:] + "."
}

// routable reports whether the Internet can reach an address.
func routable(a netip.Addr) bool {
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // carriers' NAT: RFC 6598
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// inContainer reports whether the process seems to run in a container with a network of its own: there is no way to know.
func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

// withInterfaces names the interface of each address.
func withInterfaces(addrs []netip.AddrPort) []hostAddr {
	names := map[netip.Addr]string{}
	interfaces, _ := net.Interfaces() // without names, none is a bridge
	for _, i := range interfaces {
		own, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range own {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				names[p.Addr().Unmap().WithZone("")] = i.Name
			}
		}
	}
	out := make([]hostAddr, len(addrs))
	for i, a := range addrs {
		out[i] = hostAddr{a.Addr(), names[a.Addr().WithZone("")]}
	}
	return out
}
