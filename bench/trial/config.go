// Package trial runs a load test: it publishes cameras, connects viewers,
// measures between two marks, and says what happened.
package trial

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/whip"
)

// Config says what to run. The URLs and tokens of WHIP and WHEP may hold {n},
// which becomes the number of the camera, from 0.
type Config struct {
	SecureCam string // base URL: everything else is done through its API
	WHIP      whip.Endpoint
	WHEP      whip.Endpoint
	Insecure  bool // accept any TLS certificate

	Cameras   int
	Viewers   int
	Duration  time.Duration
	WarmUp    time.Duration
	Picture   load.Picture
	Audio     bool
	Pace      load.Pace
	Joined    bool // bursts leave in one message each
	Layers    int
	MaxHeight int    // that viewers ask for in their URL, 0 for none
	VideoFile string // IVF, or H.264 in Annex B's format, instead of synthetic video
	AudioFile string // Ogg beside it

	Parallel   int           // set-ups at a time
	Rate       float64       // set-ups a second at most, 0 for no limit
	QuietSetup bool          // cameras are mute while viewers come in
	RTCPRate   float64       // reports a second of each viewer
	NACK       bool          // each report asks for a packet again
	Congestion bool          // viewers tell of the way in transport-wide feedback
	Verify     int           // viewers that open every packet
	Sample     int           // the others open one in so many
	Poll       time.Duration // how often sockets are read in the measurement
	Readers    int           // goroutines that read sockets
	PID        int           // of the server, 0 for none
	Floor      time.Duration // for each step of the floor, 0 for none

	FindMax   bool
	MinRatio  float64       // delivery that counts as held
	MaxP99    time.Duration // latency that counts as held
	Step      time.Duration // of one number of viewers
	Attempts  int           // to hold a number of viewers, 1 if zero
	Precision float64       // part of the result that the search may be off

	Name     string
	Command  []string
	Progress func(line string) // nil for none
}

func (c Config) check() error {
	switch {
	case c.SecureCam == "" && (c.WHIP.URL == "" || c.WHEP.URL == "" && c.Viewers > 0):
		return errors.New("trial: no server: give its SecureCam URL, or WHIP and WHEP URLs")
	case c.Cameras < 1, c.Viewers < 0, c.Duration <= 0:
		return errors.New("trial: no load: at least one camera, for some time")
	case c.SecureCam == "" && c.Cameras > 1 && !strings.Contains(c.WHIP.URL+c.WHIP.Token, "{n}"):
		return errors.New("trial: several cameras need a WHIP URL or token with {n}")
	case c.VideoFile == "" && (c.Picture.FPS <= 0 || c.Picture.Bitrate <= 0):
		return errors.New("trial: no video: bitrate and frame rate must be positive")
	case c.VideoFile == "" && !c.Picture.Codec.Synthetic():
		return fmt.Errorf("trial: %s comes from files only", c.Picture.Codec)
	case c.Layers > 3:
		return fmt.Errorf("trial: %d layers: 3 at most", c.Layers)
	case c.Congestion && c.Layers < 2:
		return errors.New("trial: congestion control is for cameras with layers")
	case c.MaxHeight < 0 || c.MaxHeight > 0 && (c.Layers < 2 || c.Picture.Codec != load.VP8):
		return errors.New("trial: only simulcast of VP8 has heights to ask for")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Parallel <= 0 {
		c.Parallel = 8
	}
	if c.Sample <= 0 {
		c.Sample = 61
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	return c
}

// numbered puts a camera's number into an endpoint.
func numbered(e whip.Endpoint, n int) whip.Endpoint {
	number := fmt.Sprint(n)
	return whip.Endpoint{URL: strings.ReplaceAll(e.URL, "{n}", number), Token: strings.ReplaceAll(e.Token, "{n}", number)}
}
