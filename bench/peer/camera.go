package peer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// Media names the files that a camera sends, over and over, at their own pace:
// video in an IVF file (VP8, VP9, AV1) or as H.264 in Annex B's format, which
// knows no times, and an Ogg file with Opus in pages of 20 ms. Either may be
// empty.
type Media struct {
	Video string
	Audio string
	FPS   float64 // of H.264, 30 if zero
}

// Film is Media that was read. It may be published many times.
type Film struct{ video, audio *clip }

// Read reads the files as a whole.
func (m Media) Read() (*Film, error) {
	f := &Film{}
	var err error
	if m.Video != "" {
		if f.video, err = readVideo(m.Video, m.FPS); err != nil {
			return nil, err
		}
	}
	if m.Audio != "" {
		if f.audio, err = readAudio(m.Audio); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Camera publishes media by WHIP until it is closed. It sends again what the
// server asks for (NACK), and answers PLI and FIR as far as a file can: it
// jumps to the next keyframe that is in it.
type Camera struct {
	session *session
	stop    context.CancelFunc
	senders sync.WaitGroup
}

// Publish connects a camera to a WHIP endpoint and sends m. ctx bounds the
// set-up only.
func Publish(ctx context.Context, e Endpoint, m Media) (*Camera, error) {
	f, err := m.Read()
	if err != nil {
		return nil, err
	}
	return f.Publish(ctx, e)
}

// Publish is the function Publish for media that was read.
func (f *Film) Publish(ctx context.Context, e Endpoint) (*Camera, error) {
	c := &Camera{}
	var players []*player
	s, err := dial(ctx, e, func(pc *webrtc.PeerConnection) error {
		for _, t := range []struct {
			id   string
			clip *clip
		}{{"video", f.video}, {"audio", f.audio}} {
			if t.clip == nil {
				continue
			}
			p, err := newPlayer(pc, t.clip, t.id)
			if err != nil {
				return err
			}
			players = append(players, p)
			c.senders.Go(p.listen) // ends with the connection
		}
		return nil
	})
	if err != nil {
		c.senders.Wait()
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.session, c.stop = s, stop
	for _, p := range players {
		// A send fails only when the connection goes, which the owner sees.
		c.senders.Go(func() { _ = p.play(run) })
	}
	return c, nil
}

// Leave ends the session at the server, then the connection.
func (c *Camera) Leave(ctx context.Context) error {
	c.stop()
	defer c.senders.Wait()
	return c.session.leave(ctx)
}

// Vanish ends the camera without a word to the server, like a killed process.
func (c *Camera) Vanish() error {
	c.stop()
	defer c.senders.Wait()
	return c.session.vanish()
}

// player sends a clip as one track.
type player struct {
	clip   *clip
	track  *webrtc.TrackLocalStaticSample
	sender *webrtc.RTPSender
	wanted atomic.Bool // a keyframe is
}

func newPlayer(pc *webrtc.PeerConnection, c *clip, id string) (*player, error) {
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: c.mime}, id, "camera")
	if err != nil {
		return nil, err
	}
	t, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	return &player{clip: c, track: track, sender: t.Sender()}, nil
}

// listen reads what the server says of the track until the connection ends.
// pion answers NACKs by itself, out of what is read.
func (p *player) listen() {
	for {
		packets, _, err := p.sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.wanted.Store(true)
			}
		}
	}
}

// play sends the clip until ctx ends.
func (p *player) play(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for i := 0; ; i++ {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		i %= len(p.clip.samples)
		if p.wanted.Swap(false) {
			i = p.clip.from(i)
		}
		s := p.clip.samples[i]
		if err := p.track.WriteSample(media.Sample{Data: s.data, Duration: s.took}); err != nil {
			return err
		}
		next = next.Add(s.took)
		timer.Reset(time.Until(next))
	}
}
