package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"github.com/securecam/securecam/bench/rtc"
	"github.com/securecam/securecam/bench/whip"
)

// ViewerConfig says what a viewer watches and how closely.
type ViewerConfig struct {
	Endpoint whip.Endpoint
	Sources  []*Source // of its camera, one of a kind
	Meter    *Meter
	// Every opens one in so many packets; 1 opens all.
	Every uint64
	// Congestion offers to tell of the way, as browsers do: a server that has something to choose, layers, takes it.
	Congestion bool
}

// Viewer watches one camera.
type Viewer struct {
	session
	tracks  []*track
	byType  [128]*track
	repairs [128]bool // payload types of retransmissions
	buffer  []byte
	ssrc    uint32 // of our reports

	feedback *feedback // nil unless agreed on

	begun     time.Time
	Connected time.Duration // from the offer to the end of DTLS
	first     atomic.Int64  // nanoseconds from the offer to the first packet
}

// Play connects a viewer. ctx bounds the set-up only.
func (c *Client) Play(ctx context.Context, cfg ViewerConfig) (*Viewer, error) {
	v := &Viewer{
		session: session{client: c, endpoint: cfg.Endpoint}, begun: time.Now(),
		buffer: make([]byte, 0, 2048), ssrc: rand.Uint32(),
	}
	var err error
	if v.transport, err = rtc.New(c.RTC, rtc.Callbacks{RTP: v.receive}); err != nil {
		return nil, err
	}
	var sections []rtc.Section
	for _, s := range cfg.Sources {
		sections = append(sections, rtc.Section{
			Kind: s.codec.kind(), Codecs: []rtc.Codec{s.codec.offered()}, Congestion: cfg.Congestion,
		})
		v.tracks = append(v.tracks, &track{
			source: s, meter: cfg.Meter, every: max(cfg.Every, 1), turn: rand.Uint64N(max(cfg.Every, 1)), open: v.open,
		})
	}
	if err := v.connect(ctx, sections); err != nil {
		return nil, errors.Join(err, v.Leave(context.WithoutCancel(ctx)))
	}
	v.Connected = time.Since(v.begun)
	return v, nil
}

func (v *Viewer) connect(ctx context.Context, sections []rtc.Section) error {
	answer, err := v.negotiate(ctx, sections)
	if err != nil {
		return err
	}
	if len(answer.Tracks) != len(v.tracks) {
		return fmt.Errorf("load: the answer has %d media sections, want %d", len(answer.Tracks), len(v.tracks))
	}
	for i, t := range answer.Tracks {
		if t.Codec == "" {
			continue // rejected: nothing will come, which the delivery shows
		}
		v.byType[t.Payload] = v.tracks[i]
		if t.RTX != 0 {
			v.repairs[t.RTX] = true
		}
		if t.Number != 0 && v.feedback == nil {
			v.feedback = &feedback{recorder: twcc.NewRecorder(v.ssrc), id: t.Number}
		}
	}
	return v.transport.Connect(ctx, answer)
}

// receive is called on the poller's goroutine with a protected packet.
func (v *Viewer) receive(packet []byte, at int64) {
	if v.first.Load() == 0 {
		v.first.Store(max(int64(time.Since(v.begun)), 1))
	}
	if v.feedback != nil {
		v.note(packet, at)
	}
	payloadType := packet[1] & 0x7f
	t := v.byType[payloadType]
	if t == nil {
		if v.repairs[payloadType] && len(v.tracks) > 0 {
			v.tracks[0].meter.Retransmitted.Add(1)
		}
		return
	}
	t.receive(packet, binary.BigEndian.Uint16(packet[2:]), binary.BigEndian.Uint32(packet[8:]), at)
}

func (v *Viewer) open(packet []byte) ([]byte, error) {
	plain, err := v.transport.OpenRTP(v.buffer[:0], packet)
	if err == nil {
		v.buffer = plain
	}
	return plain, err
}

// FirstPacket returns the time from the offer to the first packet, 0 if none
// has come.
func (v *Viewer) FirstPacket() time.Duration { return time.Duration(v.first.Load()) }

// Profile names what protects the media.
func (v *Viewer) Profile() string { return v.transport.Profile() }

// Dropped counts datagrams that came faster than this program read them.
func (v *Viewer) Dropped() uint64 { return v.transport.Dropped() }

// Errors counts what could not be opened or sent.
func (v *Viewer) Errors() uint64 { return v.transport.Errors() }

// Ended reports whether the server has ended the connection.
func (v *Viewer) Ended() bool {
	select {
	case <-v.transport.Ended():
		return true
	default:
		return false
	}
}

// Delivery returns how many packets of the measurement were due and how many
// came. bySequence counts the due ones by sequence numbers, for a server that
// packetizes anew.
func (v *Viewer) Delivery(bySequence bool) (expected, got uint64) {
	for _, t := range v.tracks {
		got += t.counted.Load()
		if n := t.counted.Load(); bySequence && n > 0 {
			expected += t.uppermost.Load() - t.lowest.Load() + 1
		} else {
			expected += t.expected()
		}
	}
	return expected, got
}

// Report sends a receiver report for each track, and with nack a request for a
// packet that has long arrived.
func (v *Viewer) Report(nack bool) error {
	var packets []rtcp.Packet
	report := &rtcp.ReceiverReport{SSRC: v.ssrc}
	for _, t := range v.tracks {
		ssrc, highest := t.ssrc.Load(), t.highest.Load()
		if highest == 0 {
			continue
		}
		report.Reports = append(report.Reports, rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: uint32(highest)})
		if nack && t.source.codec.kind() == "video" {
			packets = append(packets, &rtcp.TransportLayerNack{
				SenderSSRC: v.ssrc, MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{PacketID: uint16(highest - 8)}},
			})
		}
	}
	return v.transport.SendRTCP(append([]rtcp.Packet{report}, packets...)...)
}

// Leave ends the session at the server, then the connection.
func (v *Viewer) Leave(ctx context.Context) error { return v.close(ctx) }
