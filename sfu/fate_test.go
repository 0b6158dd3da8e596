package sfu

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/stun/v4"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/transport"
)

// sealer is the peer of a session without a connection.
type sealer struct {
	tb     testing.TB
	sender *seal.Sender
}

func newSealer(tb testing.TB) (*sealer, *seal.Receiver) {
	tb.Helper()
	keys := seal.Keys{Key: make([]byte, 16), Salt: make([]byte, 12)}
	sender, err := seal.NewSender(seal.GCM128, keys)
	if err != nil {
		tb.Fatal(err)
	}
	receiver, err := seal.NewReceiver(seal.GCM128, keys)
	if err != nil {
		tb.Fatal(err)
	}
	return &sealer{tb, sender}, receiver
}

// rtp seals a packet.
func (k *sealer) rtp(plain []byte) []byte {
	k.tb.Helper()
	n, ok := headerLength(plain)
	if !ok {
		k.tb.Fatal("no RTP header")
	}
	out := make([]byte, len(plain)+k.sender.Overhead())
	if k.sender.RTP(out, plain[:n], plain[n:], uint64(binary.BigEndian.Uint16(plain[2:]))) != len(out) {
		k.tb.Fatal("not sealed")
	}
	return out
}

// sealedCamera is a publisher whose packets are authentic.
func sealedCamera(t *testing.T) (*SFU, *session, *sealer) {
	t.Helper()
	s, sess := stranger(t, simulcast{})
	k, receiver := newSealer(t)
	sess.uplink = newUplink(receiver, 3)
	return s, sess, k
}

// with puts a packet together by hand.
func with(first, payloadType byte, ssrc uint32, seq uint16, rest ...byte) []byte {
	b := []byte{first, payloadType, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, rest...)
}

// TestFates has authentic packets that nothing can be made of counted by what is wrong with them.
func TestFates(t *testing.T) {
	t.Parallel()
	s, sess, k := sealedCamera(t)
	s.cfg.RingSize = 64
	p := &peer{sfu: s, session: sess}
	vp8 := payload(codec.VP8, true, 0, 1)
	send := func(plain []byte) { p.receive(k.rtp(plain), 1) }
	for seq := range uint16(200) {
		if seq != 4 {
			send(with(0x80, 96, 7, 1000+seq, vp8...))
		}
	}
	l := sess.layerOf(7)
	if l == nil || l.reception.received != 199 {
		t.Fatal("the stream did not begin")
	}
	repair := func(original uint16, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, original), rest...)
	}
	seq := uint16(1200)
	for _, tt := range []struct {
		name   string
		packet []byte
		want   fate
	}{
		{"padding of nothing", with(0xa0, 96, 7, seq, 0x10, 0), malformed},
		{"padding longer than the payload", with(0xa0, 96, 7, seq+1, 0x10, 9), malformed},
		{"padding without a count", with(0xa0, 96, 7, seq+2), malformed},
		{"an extension's element beyond its end", with(0x90, 96, 7, seq+3, 0xbe, 0xde, 0, 1, 0x1f, 1, 1, 1, 0x10), malformed},
		{"too large", with(0x80, 96, 7, seq+4, make([]byte, ring.MaxPayload+1)...), oversized},
		{"long ago", with(0x80, 96, 7, seq-196, vp8...), late},
		{"of another format", with(0x80, 120, 8, 1, vp8...), unbound},
		{"a stream that begins with a lie", with(0xa0, 96, 9, 1, 0x10, 99), malformed},
		{"repairs nothing", with(0x80, 97, 10, 1, 1), malformed},
		{"repairs with a lie", with(0xa0, 97, 10, 2, 1, 2, 3, 200), malformed},
		{"repairs what is there", with(0x80, 97, 10, 3, repair(seq-1, vp8...)...), duplicate},
		{"repairs what was not sent yet", with(0x80, 97, 10, 4, repair(seq+500, vp8...)...), late},
		{"repairs what nobody remembers", with(0x80, 97, 10, 5, repair(seq-1000, vp8...)...), late},
		{"probes with padding", with(0xa0, 97, 10, 6, 0, 0, 0, 4), taken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want fateCounters
			for f := range s.fates {
				want[f].Store(s.fates[f].Load())
			}
			want.note(tt.want)
			send(tt.packet)
			for f := range s.fates {
				if got := s.fates[f].Load(); got != want[f].Load() {
					t.Errorf("fate %d: %d, want %d", f, got, want[f].Load())
				}
			}
		})
	}
	if len(sess.uplink.layers) != 1 {
		t.Errorf("%d layers", len(sess.uplink.layers))
	}
	if n := s.socket.rejected.Load(); n != 0 {
		t.Errorf("%d were not authentic", n)
	}
}

// TestBadInputAllocatesNothing holds that what is bad costs no memory, wherever it is found out.
func TestBadInputAllocatesNothing(t *testing.T) {
	const runs = 200
	s, sess, k := sealedCamera(t)
	p := &peer{sfu: s, session: sess}
	vp8 := payload(codec.VP8, true, 0, 1)
	seq := uint16(0)
	next := func(first, payloadType byte, ssrc uint32, rest ...byte) []byte {
		seq++
		return k.rtp(with(first, payloadType, ssrc, seq, rest...))
	}
	for range 100 { // what is kept grows at first
		p.receive(next(0x80, 96, 7, vp8...), 1)
	}
	p.receive(next(0x80, 97, 10, 0, 1), 1)
	viewer, vk := sealedViewer(t, s, sess.media)
	v := &peer{sfu: s, session: viewer}
	from := netip.MustParseAddrPort("192.0.2.1:5000")
	toCamera, toViewer := func(b []byte) { p.receive(b, 1) }, func(b []byte) { v.receive(b, 1) }
	toSocket := func(b []byte) { s.socket.pass(b, from, 1) }
	for _, tt := range []struct {
		name string
		make func() []byte
		take func(b []byte)
	}{
		{"authentic", func() []byte { return next(0x80, 96, 7, vp8...) }, toCamera},
		{"a wrong tag", func() []byte { return flipLast(next(0x80, 96, 7, vp8...)) }, toCamera},
		{"a replay", func() []byte { return k.rtp(with(0x80, 96, 7, 50, vp8...)) }, toCamera},
		{"truncated", func() []byte { return next(0x80, 96, 7)[:11] }, toCamera},
		{"a lying header", func() []byte { return with(0x9f, 96, 7, 1, 0xbe, 0xde, 0xff, 0xff) }, toCamera},
		{"lying padding", func() []byte { return next(0xa0, 96, 7, 0x10, 99) }, toCamera},
		{"oversized", func() []byte { return next(0x80, 96, 7, make([]byte, 2000)...) }, toCamera},
		{"a bad repair", func() []byte { return next(0x80, 97, 10, 1) }, toCamera},
		{"of no stream", func() []byte { return next(0x80, 120, 10, 1) }, toCamera},
		{"RTCP with a wrong tag", func() []byte { return flipLast(vk.rtcp(t, &rtcp.ReceiverReport{SSRC: 1})) }, toViewer},
		{"RTCP that is none", func() []byte { return vk.sender.RTCP(nil, []byte{0x80, 201, 0, 9, 0, 0, 0, 1}) }, toViewer},
		{"NACK for nothing", func() []byte {
			return vk.rtcp(t, &rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: 2, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0xffff}}})
		}, toViewer},
		{"PLI for nobody", func() []byte { return vk.rtcp(t, &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2}) }, toViewer},
		{"RTP of a viewer", func() []byte { return with(0x80, 96, 7, 1) }, toViewer},
		{"media of a stranger", func() []byte { return with(0x80, 96, 7, 1) }, toSocket},
		{"DTLS of a stranger", func() []byte { return []byte{22, 254, 253} }, toSocket},
		{"a check that names nobody", func() []byte { return check("nobody", "secret") }, toSocket},
	} {
		packets := make([][]byte, 0, runs+1)
		for range runs + 1 {
			packets = append(packets, tt.make())
		}
		i := 0
		if n := testing.AllocsPerRun(runs, func() { tt.take(packets[i]); i++ }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// sealedViewer makes a viewer that packets can be fed to without a connection.
func sealedViewer(t *testing.T, s *SFU, m *media) (*session, *sealer) {
	t.Helper()
	k, receiver := newSealer(t)
	sess := &session{role: play, media: m, mediaID: m.id, receiver: receiver, link: &transport.Transport{}}
	sess.shard.Store(s.shards[0])
	return sess, k
}

func (k *sealer) rtcp(t *testing.T, p rtcp.Packet) []byte {
	t.Helper()
	plain, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return k.sender.RTCP(nil, plain)
}

// FuzzCamera has a camera that is connected send whatever it likes: nothing panics, every packet is taken or counted
// once, and what is bounded stays so.
func FuzzCamera(f *testing.F) {
	vp8 := payload(codec.VP8, true, 0, 1)
	f.Add(with(0x80, 96, 7, 1, vp8...), with(0x80, 97, 10, 1, 0, 1, 2, 3))
	f.Add(with(0xa0, 96, 7, 1, 0x10, 9), with(0xa0, 97, 10, 1, 0, 1, 1, 1))
	f.Add(with(0x90, 96, 7, 1, append([]byte{0xbe, 0xde, 0, 2, 0xa0, 'l', 0xb0, 'h', 0x31, 1, 2, 0}, vp8...)...), with(0x80, 97, 9, 4, 0, 1))
	f.Add(with(0x91, 45, 7, 1, append([]byte{1, 1, 1, 1, 0x10, 0, 0, 1, 10, 1, 'h', 0}, vp8...)...), with(0x8f, 96, 7, 1))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, sim := range []simulcast{{}, {rids: []string{"l", "h"}, ridAt: 10, repairedAt: 11}, {sources: []streamName{{7, "0"}, {8, "1"}}}} {
			s, sess := fuzzedCamera(sim)
			for i := range 4 {
				b := bytes.Clone([][]byte{first, second}[i%2])
				if n, ok := headerLength(b); !ok || b[0]>>6 != 2 || n > len(b) || isRTCP(b) {
					return // the receiver opens no such packet
				}
				binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])+uint16(i))
				in, before := sess.media.counters.packetsIn.Load(), s.fates.sum()
				s.takeRTP(sess, b, int64(i)*1e9)
				if n := sess.media.counters.packetsIn.Load() - in + s.fates.sum() - before; n > 1 {
					t.Fatalf("a packet was counted %d times", n)
				}
			}
			if n := len(sess.uplink.layers); n > maxStreams {
				t.Fatalf("%d streams", n)
			}
			close(sess.done)
			sess.loops.Wait()
		}
	})
}

func (c *fateCounters) sum() (n uint64) {
	for i := range c {
		n += c[i].Load()
	}
	return n
}

// fuzzedCamera makes a publisher of an SFU without a socket.
func fuzzedCamera(sim simulcast) (*SFU, *session) {
	s := &SFU{cfg: Config{RingSize: 16}.withDefaults()}
	m := &media{id: "m"}
	sim.descriptorAt = 3
	sp := spec{kind: video, mimeType: "video/AV1", clockRate: 90000, payloadType: 96, rtx: 97}
	sess := &session{role: publish, media: m, specs: []spec{sp}, simulcast: sim, done: make(chan struct{}), number: 1}
	sess.uplink = newUplink(nil, 3)
	m.publisher = sess
	m.tracks[video] = newUpTrack(sp, &m.counters)
	return s, sess
}

// FuzzTalker has a viewer that may talk send whatever it likes.
func FuzzTalker(f *testing.F) {
	f.Add(with(0x80, 111, 7, 1, 1, 2, 3, 4))
	f.Add(with(0xb2, 111, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 0, 1, 2, 3, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < rtpHeader {
			return
		}
		i := &intercom{counters: &counters{}}
		payload, ok := payloadOf(b)
		if ok && len(payload) > len(b)-rtpHeader {
			t.Fatalf("a payload of %d bytes in %d", len(payload), len(b))
		}
		if f := i.say(&session{}, b, 1); !ok && f != malformed || ok && f == malformed {
			t.Fatalf("fate %d", f)
		}
	})
}

// FuzzCheck holds that who is called by a STUN message is what pion reads in it, and that no datagram makes the socket panic.
func FuzzCheck(f *testing.F) {
	f.Add(check("name", "secret"))
	f.Add([]byte{1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		name := calledName(b)
		m := &stun.Message{Raw: bytes.Clone(b)}
		if !stun.IsMessage(b) || m.Decode() != nil {
			return
		}
		user, err := m.Get(stun.AttrUsername)
		want, _, _ := bytes.Cut(user, []byte(":"))
		if name != nil && err == nil && !bytes.Equal(name, want) {
			t.Fatalf("%q, pion reads %q", name, want)
		}
		answer := make(chan netip.AddrPort, 1)
		d := &discovery{pending: map[[stun.TransactionIDSize]byte]chan<- netip.AddrPort{m.TransactionID: answer}}
		d.take(b)
		select {
		case a := <-answer:
			if !a.IsValid() || a.Port() == 0 {
				t.Fatalf("mapped to %v", a)
			}
		default:
		}
	})
}
