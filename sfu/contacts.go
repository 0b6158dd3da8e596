package sfu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

const (
	// contactTime is how long an address that ICE wrote to counts: as long as consent lasts (RFC 7675, section 5.1).
	contactTime = 30 * time.Second
	// maxContacts bounds the addresses of each of the two generations that are kept.
	maxContacts = 16384
	// maxChecks is the STUN messages a second that are taken of one contact, and of strangers for one session: a browser
	// sends 20 at most.
	maxChecks = 200
	// maxRecords is the other datagrams a second that are taken of one contact by way of ICE: DTLS records, media that
	// comes from another address than the selected one.
	maxRecords = 4000
	// maxAttributes is how many attributes of a STUN message are looked at for the user name, which is among the first.
	maxAttributes = 16
)

// contacts say whose datagrams ICE gets: those of addresses that it wrote to lately, and connectivity checks from
// anywhere that name a session. All others are nobody's, and cost no more than a look-up.
type contacts struct {
	clock func() int64

	mu         sync.RWMutex // guards what follows; held for one look-up
	young, old map[netip.AddrPort]*contact
	began      int64 // when young did
	names      map[string]*name
}

// contact is an address that ICE wrote to.
type contact struct {
	wrote           int64 // guarded by contacts.mu
	checks, records budget
}

// name is a ufrag that a session has.
type name struct {
	uses   int // guarded by contacts.mu
	checks budget
}

// budget bounds what is taken in a second. Readers who take at the same time may get a little more.
type budget struct{ since, taken atomic.Int64 }

func (b *budget) take(now int64, most int64) bool {
	if now-b.since.Load() >= int64(time.Second) {
		b.since.Store(now)
		b.taken.Store(0)
	}
	return b.taken.Add(1) <= most
}

func newContacts(clock func() int64) *contacts {
	return &contacts{
		clock: clock, names: make(map[string]*name),
		young: make(map[netip.AddrPort]*contact), old: make(map[netip.AddrPort]*contact),
	}
}

// wrote notes that ICE writes to an address.
func (c *contacts) wrote(to netip.AddrPort) {
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.young[to]
	if known == nil {
		if len(c.young) >= maxContacts || now-c.began > int64(contactTime) {
			c.old, c.young, c.began = c.young, make(map[netip.AddrPort]*contact), now
		}
		if known = c.old[to]; known == nil {
			known = &contact{}
		}
		c.young[to] = known
	}
	known.wrote = now
}

// of returns the contact with this address, nil if it is a stranger's.
func (c *contacts) of(from netip.AddrPort, now int64) *contact {
	c.mu.RLock()
	defer c.mu.RUnlock()
	known := c.young[from]
	if known == nil {
		known = c.old[from]
	}
	if known == nil || now-known.wrote > int64(contactTime) {
		return nil
	}
	return known
}

// named returns the name that a connectivity check asks for, nil if no session has it.
func (c *contacts) named(ufrag []byte) *name {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.names[string(ufrag)]
}

// add makes a session's name known, once for each use.
func (c *contacts) add(ufrag string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.names[ufrag]
	if n == nil {
		n = &name{}
		c.names[ufrag] = n
	}
	n.uses++
}

// remove undoes add.
func (c *contacts) remove(ufrag string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.names[ufrag]; n != nil {
		if n.uses--; n.uses == 0 {
			delete(c.names, ufrag)
		}
	}
}

// calledName returns our part of the user name in a STUN message (RFC 8445, section 7.2.2), nil if there is none.
func calledName(b []byte) []byte {
	const header, attribute = 20, 4
	at := header
	for range maxAttributes {
		if len(b) < at+attribute {
			return nil
		}
		kind, size := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		at += attribute
		if len(b) < at+size {
			return nil
		}
		if stun.AttrType(kind) == stun.AttrUsername {
			ours, _, _ := bytes.Cut(b[at:at+size], []byte(":"))
			return ours
		}
		at += (size + 3) &^ 3 // RFC 8489, section 14
	}
	return nil
}

// namingMux is pion's mux, which tells the contacts what names sessions have.
type namingMux struct {
	ice.UDPMux
	contacts *contacts
}

// muxConn is a connection of pion's mux.
type muxConn interface {
	net.PacketConn
	ice.AddrPortReaderWriter
}

// namedConn gives its name up when it is closed.
type namedConn struct {
	muxConn
	forget func()
}

// GetConn implements ice.UDPMux.
func (m *namingMux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	conn, err := m.UDPMux.GetConn(ufrag, addr)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(muxConn)
	if !ok {
		return nil, errors.Join(errors.New("sfu: the mux cannot read and write netip addresses"), conn.Close())
	}
	m.contacts.add(ufrag)
	return &namedConn{muxConn: inner, forget: sync.OnceFunc(func() { m.contacts.remove(ufrag) })}, nil
}

// Close implements net.PacketConn.
func (c *namedConn) Close() error {
	c.forget()
	return c.muxConn.Close()
}
