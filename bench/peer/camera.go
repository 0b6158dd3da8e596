package peer

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// Media names the files that a camera sends, over and over: an IVF file with
// VP8, VP9 or AV1, and an Ogg file with Opus in pages of 20 ms. Either may be
// empty.
type Media struct {
	Video string
	Audio string
}

// Camera publishes media by WHIP until it is closed.
type Camera struct {
	session *session
	stop    context.CancelFunc
	senders sync.WaitGroup
}

// Publish connects a camera to a WHIP endpoint and sends m at its own pace.
// ctx bounds the set-up only.
func Publish(ctx context.Context, e Endpoint, m Media) (*Camera, error) {
	var tracks []func(context.Context) error
	s, err := dial(ctx, e, func(pc *webrtc.PeerConnection) error {
		var err error
		tracks, err = addTracks(pc, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Camera{session: s, stop: stop}
	for _, send := range tracks {
		c.senders.Go(func() {
			// A send fails only when the connection goes, which the owner sees.
			_ = send(run)
		})
	}
	return c, nil
}

// Leave ends the session at the server, then the connection.
func (c *Camera) Leave(ctx context.Context) error {
	c.stop()
	c.senders.Wait()
	return c.session.leave(ctx)
}

// Vanish ends the camera without a word to the server, like a killed process.
func (c *Camera) Vanish() error {
	c.stop()
	c.senders.Wait()
	return c.session.vanish()
}

func addTracks(pc *webrtc.PeerConnection, m Media) ([]func(context.Context) error, error) {
	var sends []func(context.Context) error
	if m.Video != "" {
		mime, err := ivfMimeType(m.Video)
		if err != nil {
			return nil, err
		}
		track, err := addTrack(pc, mime, "video")
		if err != nil {
			return nil, err
		}
		sends = append(sends, func(ctx context.Context) error { return repeat(ctx, track, m.Video, sendIVF) })
	}
	if m.Audio != "" {
		track, err := addTrack(pc, webrtc.MimeTypeOpus, "audio")
		if err != nil {
			return nil, err
		}
		sends = append(sends, func(ctx context.Context) error { return repeat(ctx, track, m.Audio, sendOgg) })
	}
	return sends, nil
}

func addTrack(pc *webrtc.PeerConnection, mime, id string) (*webrtc.TrackLocalStaticSample, error) {
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, id, "camera")
	if err != nil {
		return nil, err
	}
	_, err = pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	return track, err
}

func ivfMimeType(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, header, err := ivfreader.NewWith(f)
	if err != nil {
		return "", err
	}
	switch header.FourCC {
	case "VP80":
		return webrtc.MimeTypeVP8, nil
	case "VP90":
		return webrtc.MimeTypeVP9, nil
	case "AV01":
		return webrtc.MimeTypeAV1, nil
	default:
		return "", errors.New("peer: unknown codec " + header.FourCC)
	}
}

// sender sends the samples of one file by calling send for each, which waits
// for the sample's time.
type sender func(r io.Reader, send func([]byte, time.Duration) error) error

// repeat plays a file until ctx ends.
func repeat(ctx context.Context, track *webrtc.TrackLocalStaticSample, path string, play sender) error {
	next := time.Now()
	send := func(data []byte, duration time.Duration) error {
		next = next.Add(duration)
		select {
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return ctx.Err()
		}
		return track.WriteSample(media.Sample{Data: data, Duration: duration})
	}
	for {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(play(f, send), f.Close()); err != nil {
			return err
		}
	}
}

func sendIVF(r io.Reader, send func([]byte, time.Duration) error) error {
	ivf, header, err := ivfreader.NewWith(r)
	if err != nil {
		return err
	}
	tick := time.Second * time.Duration(header.TimebaseNumerator) / time.Duration(header.TimebaseDenominator)
	for {
		frame, _, err := ivf.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(frame, tick); err != nil {
			return err
		}
	}
}

func sendOgg(r io.Reader, send func([]byte, time.Duration) error) error {
	ogg, _, err := oggreader.NewWith(r)
	if err != nil {
		return err
	}
	var last uint64
	for {
		page, header, err := ogg.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		samples := header.GranulePosition - last
		last = header.GranulePosition
		if samples == 0 { // the comment header
			continue
		}
		if err := send(page, time.Duration(samples)*time.Second/48000); err != nil {
			return err
		}
	}
}
