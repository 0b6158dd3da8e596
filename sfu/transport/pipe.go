package transport

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v5/packetio"
)

const (
	// A ClientHello is two datagrams, the flight after it with a certificate chain a few. What is beyond that is
	// dropped, as it would be on the network.
	maxQueued      = 16
	maxQueuedBytes = 16 << 10
)

// pipe is what a dtls.Conn takes for its socket: it reads what the tap has put in and writes on the selected pair.
type pipe struct {
	t     *Transport
	in    *packetio.Buffer
	muted atomic.Bool // nothing goes out any more
}

func newPipe(t *Transport) *pipe {
	p := &pipe{t: t, in: packetio.NewBuffer()}
	p.in.SetLimitCount(maxQueued)
	p.in.SetLimitSize(maxQueuedBytes)
	return p
}

// put queues a datagram, or drops it.
func (p *pipe) put(b []byte) {
	if _, err := p.in.Write(b, nil); errors.Is(err, packetio.ErrFull) {
		p.t.cfg.Drops.Records.Add(1)
	}
}

// ReadFrom implements net.PacketConn.
func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := p.in.Read(b, nil)
	return n, peer{}, err
}

// WriteTo implements net.PacketConn. What cannot be sent is lost, as on the network: there is no pair during an ICE
// restart.
func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !p.muted.Load() {
		_ = p.t.Write(b)
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (p *pipe) Close() error { return p.in.Close() }

// LocalAddr implements net.PacketConn.
func (p *pipe) LocalAddr() net.Addr { return peer{} }

// SetDeadline implements net.PacketConn.
func (p *pipe) SetDeadline(at time.Time) error { return p.in.SetReadDeadline(at) }

// SetReadDeadline implements net.PacketConn.
func (p *pipe) SetReadDeadline(at time.Time) error { return p.in.SetReadDeadline(at) }

// SetWriteDeadline implements net.PacketConn. Writing never waits.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// peer stands for whatever address ICE has selected.
type peer struct{}

// Network implements net.Addr.
func (peer) Network() string { return "ice" }

// String implements net.Addr.
func (peer) String() string { return "peer" }
