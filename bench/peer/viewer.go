package peer

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/pion/webrtc/v4"
)

// Counts is what a viewer has received on one track.
type Counts struct {
	MimeType string
	Packets  uint64
	Bytes    uint64 // payload
	Frames   uint64 // packets with the RTP marker bit
	Lost     uint64 // holes in the sequence numbers that were never filled
}

// Viewer plays a stream by WHEP and counts what arrives.
type Viewer struct {
	session *session
	readers sync.WaitGroup
	audio   trackCounter
	video   trackCounter
}

type trackCounter struct {
	mime    atomic.Value
	packets atomic.Uint64
	bytes   atomic.Uint64
	frames  atomic.Uint64
	first   atomic.Uint64 // extended sequence number, 0 is before the first packet
	highest atomic.Uint64
}

// Play connects a viewer to a WHEP endpoint. ctx bounds the set-up only.
func Play(ctx context.Context, e Endpoint) (*Viewer, error) {
	v := &Viewer{}
	s, err := dial(ctx, e, func(pc *webrtc.PeerConnection) error {
		pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			v.readers.Go(func() { v.read(track) })
		})
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
			init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
			if _, err := pc.AddTransceiverFromKind(kind, init); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	v.session = s
	return v, nil
}

// Video returns the counts of the video track.
func (v *Viewer) Video() Counts { return v.video.counts() }

// Audio returns the counts of the audio track.
func (v *Viewer) Audio() Counts { return v.audio.counts() }

// Leave ends the session at the server, then the connection.
func (v *Viewer) Leave(ctx context.Context) error {
	defer v.readers.Wait()
	return v.session.leave(ctx)
}

// Vanish ends the viewer without a word to the server, like a killed process.
func (v *Viewer) Vanish() error {
	defer v.readers.Wait()
	return v.session.vanish()
}

// Ended reports whether the connection has ended or stopped answering.
func (v *Viewer) Ended() bool {
	switch v.session.pc.ConnectionState() {
	case webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateDisconnected:
		return true
	default:
		return false
	}
}

func (v *Viewer) read(track *webrtc.TrackRemote) {
	counter := &v.video
	if track.Kind() == webrtc.RTPCodecTypeAudio {
		counter = &v.audio
	}
	counter.mime.Store(track.Codec().MimeType)
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return // the connection has ended
		}
		counter.add(packet.SequenceNumber, len(packet.Payload), packet.Marker)
	}
}

func (c *trackCounter) add(sequence uint16, size int, marker bool) {
	highest := c.highest.Load()
	if highest == 0 {
		highest = 1<<16 | uint64(sequence)
		c.first.Store(highest)
		c.highest.Store(highest)
	} else if ahead := int16(sequence - uint16(highest)); ahead > 0 {
		c.highest.Store(highest + uint64(ahead))
	}
	c.packets.Add(1)
	c.bytes.Add(uint64(size))
	if marker {
		c.frames.Add(1)
	}
}

func (c *trackCounter) counts() Counts {
	packets := c.packets.Load()
	if packets == 0 {
		return Counts{}
	}
	mime, _ := c.mime.Load().(string)
	counts := Counts{MimeType: mime, Packets: packets, Bytes: c.bytes.Load(), Frames: c.frames.Load()}
	if expected := c.highest.Load() - c.first.Load() + 1; expected > packets {
		counts.Lost = expected - packets
	}
	return counts
}
