package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/securecam/securecam/bench/rtc"
	"github.com/securecam/securecam/bench/whip"
)

// Pace says when the packets of a frame leave.
type Pace string

// The paces.
const (
	PaceFrame    Pace = "frame"    // spread over up to 10 ms, as a real camera does
	PaceBurst    Pace = "burst"    // at once
	PaceSaturate Pace = "saturate" // at once, and the next frame when the viewers have got this one
)

// CameraConfig says what a camera sends.
type CameraConfig struct {
	Endpoint whip.Endpoint
	Number   int // distinguishes the cameras of a run
	Picture  Picture
	Audio    bool
	Pace     Pace
	Phase    time.Duration // when in a frame's time this camera sends
	Layers   int           // simulcast layers, 0 and 1 mean none
	Muted    bool          // begin mute
	Joined   bool          // a burst leaves in one message, if the pace has bursts
}

// Camera publishes until it is closed.
type Camera struct {
	session
	cfg      CameraConfig
	video    []*outgoing // layers, the best first
	audio    *outgoing
	keyframe atomic.Bool // somebody asked for one
	asked    atomic.Uint64
	repaired atomic.Uint64
	muted    atomic.Bool
	viewers  atomic.Int64 // how many to wait for at PaceSaturate
	failure  atomic.Pointer[error]
	stop     context.CancelFunc
	sending  sync.WaitGroup
}

// Publish connects a camera and starts sending. ctx bounds the set-up only.
func (c *Client) Publish(ctx context.Context, cfg CameraConfig) (*Camera, error) {
	cam := &Camera{session: session{client: c, endpoint: cfg.Endpoint}, cfg: cfg}
	cam.muted.Store(cfg.Muted)
	var err error
	if cam.transport, err = rtc.New(c.RTC, rtc.Callbacks{RTCP: cam.receive}); err != nil {
		return nil, err
	}
	if err := cam.connect(ctx); err != nil {
		return nil, errors.Join(err, cam.close(context.WithoutCancel(ctx)))
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	cam.stop = stop
	cam.sending.Go(func() { cam.note(cam.sendVideo(run)) })
	if cam.audio != nil {
		cam.sending.Go(func() { cam.note(cam.sendAudio(run)) })
	}
	return cam, nil
}

func (c *Camera) connect(ctx context.Context) error {
	codec := c.cfg.Picture.Codec
	section := rtc.Section{Kind: "video", Send: true, Codecs: []rtc.Codec{codec.offered()}, SSRC: rand.Uint32()}
	section.Codecs[0].RTX = 0 // repairs go out on the stream itself
	for i := range c.cfg.Layers {
		if c.cfg.Layers > 1 {
			section.RIDs = append(section.RIDs, [...]string{"f", "h", "q"}[i])
		}
	}
	sections := []rtc.Section{section}
	if c.cfg.Audio {
		sections = append(sections, rtc.Section{
			Kind: "audio", Send: true, Codecs: []rtc.Codec{Opus.offered()}, SSRC: rand.Uint32(),
		})
	}
	answer, err := c.negotiate(ctx, sections)
	if err != nil {
		return err
	}
	if len(answer.Tracks) != len(sections) || answer.Tracks[0].Codec == "" {
		return fmt.Errorf("load: the server does not take %s", codec)
	}
	layers := 1
	if answer.Tracks[0].Simulcast {
		layers = max(c.cfg.Layers, 1)
	}
	for i := range layers {
		o := newOutgoing(c.transport, codec, uint32(c.cfg.Number)<<4|uint32(i), answer.Tracks[0].Payload)
		if len(section.RIDs) > 0 {
			// A server that takes one layer only knows it by its section.
			o.identify("0", section.RIDs[i])
		} else {
			o.ssrc = section.SSRC
		}
		o.source.bySequence = layers > 1
		if layers > 1 {
			o.height = heights[i]
		}
		o.joins = c.cfg.Joined && c.cfg.Pace != PaceFrame
		c.video = append(c.video, o)
	}
	if c.cfg.Audio && answer.Tracks[1].Codec != "" {
		c.audio = newOutgoing(c.transport, Opus, uint32(c.cfg.Number)<<4|8, answer.Tracks[1].Payload)
		c.audio.ssrc = sections[1].SSRC
	}
	return c.transport.Connect(ctx, answer)
}

// heights are of the pictures of simulcast layers, the best first.
var heights = [...]int{720, 360, 180} //nolint:gochecknoglobals // a table

// Sources returns the tracks for viewers to judge, who asked for a picture of
// maxHeight at most; 0 means the best.
func (c *Camera) Sources(maxHeight int) []*Source {
	best := 0
	for maxHeight > 0 && best < len(c.video)-1 && heights[best] > maxHeight {
		best++
	}
	sources := []*Source{c.video[best].source}
	if c.audio != nil {
		sources = append(sources, c.audio.source)
	}
	return sources
}

// Asked returns how many keyframes the server has asked for.
func (c *Camera) Asked() uint64 { return c.asked.Load() }

// Repaired returns how many packets the server has asked for again.
func (c *Camera) Repaired() uint64 { return c.repaired.Load() }

// Mute lets the camera send almost nothing, so that set-ups are measured
// alone.
func (c *Camera) Mute(muted bool) {
	c.muted.Store(muted)
	if !muted {
		c.keyframe.Store(true)
	}
}

// Viewers says how many viewers PaceSaturate waits for.
func (c *Camera) Viewers(n int) { c.viewers.Store(int64(n)) }

// Err returns why the camera stopped by itself, nil while it goes on.
func (c *Camera) Err() error {
	select {
	case <-c.transport.Ended():
		return errors.New("load: the server has ended a camera's connection")
	default:
	}
	if p := c.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *Camera) note(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		c.failure.CompareAndSwap(nil, &err)
	}
}

// Leave ends the session at the server, then the connection.
func (c *Camera) Leave(ctx context.Context) error {
	c.stop()
	c.sending.Wait()
	return c.close(ctx)
}

// receive handles what the server says, on the poller's goroutine.
func (c *Camera) receive(compound []byte) {
	packets, err := rtcp.Unmarshal(compound)
	if err != nil {
		return
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			c.asked.Add(1)
			c.keyframe.Store(true)
		case *rtcp.TransportLayerNack:
			c.repair(p)
		}
	}
}

func (c *Camera) repair(n *rtcp.TransportLayerNack) {
	for _, o := range c.video {
		if o.ssrc != n.MediaSSRC {
			continue
		}
		for _, pair := range n.Nacks {
			for _, seq := range pair.PacketList() {
				if o.resend(seq) {
					c.repaired.Add(1)
				}
			}
		}
	}
}

// identify writes the header extensions that tell simulcast layers apart
// (RFC 8852), in the form of one byte (RFC 8285, section 4.2).
func (o *outgoing) identify(mid, rid string) {
	body := []byte{rtc.MidExtension<<4 | byte(len(mid)-1)}
	body = append(body, mid...)
	body = append(body, rtc.RIDExtension<<4|byte(len(rid)-1))
	body = append(body, rid...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	o.extension = binary.BigEndian.AppendUint16([]byte{0xbe, 0xde}, uint16(len(body)/4))
	o.extension = append(o.extension, body...)
}
