//go:build !linux

package udp

import "net/netip"

// Addr is a receiver in the form that the system wants.
type Addr struct {
	addr  netip.AddrPort
	whole bool // its messages must not be split by the kernel; of the Batch
}

type batchSystem struct{}

// Addr returns the receiver at a for this socket.
func (c *Conn) Addr(a netip.AddrPort) *Addr { return &Addr{addr: unmap(a)} }

// share lets other sockets of ours have the address, too. It reports false if that cannot be.
func (c *Conn) share() bool { return false }

func openSystem(addr netip.AddrPort, cfg Config) (socket, netip.AddrPort, bool, error) {
	return openPortable(addr, cfg)
}
