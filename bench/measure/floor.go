package measure

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/securecam/securecam/bench/wire"
	"github.com/securecam/securecam/sfu/udp"
)

const (
	floorReceivers = 300
	floorPacket    = 1200 // bytes of RTP before the tag
	floorHeader    = 12
	floorTag       = 16
	// floorRounds is the number of bursts between two looks at the clock.
	floorRounds = 4
)

// FloorStep is what one packet costs at least when bursts of so many packets
// go to each receiver.
type FloorStep struct {
	Segments int     `json:"segments"` // of one message; 1 is without offload
	Micros   float64 `json:"us"`       // CPU time of the sending thread
}

// Floor measures the least that a media server can do for each packet: copy a
// header, seal the payload with AES-128-GCM under the receiver's key, and
// hand it to the kernel, to 300 receivers. They never read, so that the kernel drops at the end what it has delivered;
// or they do with read, once a millisecond, as those of a load do: then it keeps every packet until it is read. Each
// step takes d.
func Floor(ctx context.Context, segments []int, d time.Duration, read bool) ([]FloorStep, error) {
	var heard wire.Handler
	if read {
		heard = func([]byte, netip.AddrPort, int64) {}
	}
	f, err := newFloor(ctx, floorReceivers, heard, time.Millisecond)
	if err != nil {
		return nil, err
	}
	var steps []FloorStep
	for _, n := range segments {
		// With one packet to a receiver in turn there is nothing to join.
		cost, stepErr := f.run(ctx, n, d)
		if err = stepErr; err != nil {
			break
		}
		steps = append(steps, FloorStep{Segments: n, Micros: cost.Seconds() * 1e6})
	}
	return steps, errors.Join(err, f.close())
}

type floor struct {
	conn      *udp.Conn
	sinks     []net.PacketConn // that nobody reads
	poller    *wire.Poller     // that reads; nil for none
	heard     wire.Handler     // of what is read
	receivers []floorReceiver
	packet    []byte
	scratch   [floorPacket + floorTag]byte
}

type floorReceiver struct {
	to    *udp.Addr
	seal  cipher.AEAD
	nonce [12]byte
	count uint64
}

// newFloor makes so many receivers. What they hear is read every poll, or never if heard is nil.
func newFloor(ctx context.Context, receivers int, heard wire.Handler, poll time.Duration) (*floor, error) {
	conn, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Config{WriteBuffer: 4 << 20})
	if err != nil {
		return nil, err
	}
	f := &floor{conn: conn, packet: make([]byte, floorPacket), heard: heard}
	open := f.deaf
	if heard != nil {
		open = f.reader
		if f.poller, err = wire.NewPoller(wire.Config{}); err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.poller.SetInterval(poll)
	}
	for range receivers {
		at, err := open(ctx)
		if err == nil {
			err = f.add(at)
		}
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

// reader opens a socket that is read.
func (f *floor) reader(context.Context) (netip.AddrPort, error) {
	s, err := f.poller.Open(netip.MustParseAddrPort("127.0.0.1:0"), f.heard)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return s.LocalAddr(), s.Start()
}

// deaf opens a socket with the smallest buffer, which soon is full, so that the kernel does its work but wakes nobody.
func (f *floor) deaf(ctx context.Context) (netip.AddrPort, error) {
	var lc net.ListenConfig
	sink, err := lc.ListenPacket(ctx, "udp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	f.sinks = append(f.sinks, sink)
	local, ok := sink.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, errors.New("measure: no UDP address")
	}
	if u, ok := sink.(*net.UDPConn); ok {
		err = u.SetReadBuffer(1)
	}
	return local.AddrPort(), err
}

// add makes a receiver with a key of its own.
func (f *floor) add(at netip.AddrPort) error {
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	f.receivers = append(f.receivers, floorReceiver{to: f.conn.Addr(at), seal: seal})
	return nil
}

func (f *floor) run(ctx context.Context, segments int, d time.Duration) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	batch := f.conn.NewBatch()
	f.burst(batch, f.receivers, segments) // fills caches and the receivers' buffers
	begin, err := threadTime()
	if err != nil {
		return 0, err
	}
	packets := 0
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		for range floorRounds {
			f.burst(batch, f.receivers, segments)
		}
		packets += floorRounds * segments * len(f.receivers)
	}
	used, err := threadTime()
	if err != nil || packets == 0 {
		return 0, errors.Join(err, ctx.Err())
	}
	return (used - begin) / time.Duration(packets), nil
}

// burst sends so many packets to each of some receivers.
func (f *floor) burst(batch *udp.Batch, receivers []floorReceiver, segments int) {
	for i := range receivers {
		r := &receivers[i]
		for range segments {
			r.sealOne(f.packet, batch.Append(r.to, floorPacket+floorTag))
		}
	}
	batch.Flush()
}

// sealOne seals a packet under the receiver's key into slot.
func (r *floorReceiver) sealOne(packet, slot []byte) {
	copy(slot, packet[:floorHeader])
	r.count++
	binary.BigEndian.PutUint64(r.nonce[4:], r.count)
	r.seal.Seal(slot[:floorHeader], r.nonce[:], packet[floorHeader:], slot[:floorHeader])
}

func (f *floor) close() error {
	err := f.conn.Close()
	if f.poller != nil {
		err = errors.Join(err, f.poller.Close())
	}
	for _, s := range f.sinks {
		err = errors.Join(err, s.Close())
	}
	return err
}
