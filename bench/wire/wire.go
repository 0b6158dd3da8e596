// Package wire gives a load generator many UDP sockets that few goroutines
// read: a media server tells its peers apart by address and port, so each
// needs a socket, but not a thread.
//
// On Linux every datagram carries the time at which the kernel received it,
// so that the generator's own delay does not count as the server's.
package wire

import (
	"errors"
	"net/netip"
	"time"
)

// Handler takes what a socket receives, on the poller's goroutine: it must
// neither wait nor close the socket. b is valid during the call only and may
// be changed; at is the time of arrival in Unix nanoseconds.
type Handler func(b []byte, from netip.AddrPort, at int64)

// Config says how a Poller reads; the zero value works.
type Config struct {
	Readers    int // goroutines that read; 1 if zero
	ReadBuffer int // bytes the kernel may keep for each socket; 1 MiB if zero
}

const (
	defaultReadBuffer = 1 << 20
	// waitLimit bounds how long a reader sleeps in the kernel, and so how long
	// Close and a new interval take.
	waitLimit = 50 * time.Millisecond
)

var errAddress = errors.New("wire: not an IPv4 address")

func (c Config) withDefaults() Config {
	if c.Readers <= 0 {
		c.Readers = 1
	}
	if c.ReadBuffer <= 0 {
		c.ReadBuffer = defaultReadBuffer
	}
	return c
}
