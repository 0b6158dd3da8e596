package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/measure"
	"github.com/securecam/securecam/bench/report"
	"github.com/securecam/securecam/bench/trial"
	"github.com/securecam/securecam/bench/whip"
)

type cli struct {
	Run         runArgs         `cmd:"" help:"Load a server and measure."`
	API         apiArgs         `cmd:"" name:"api" help:"Measure the API and the gateway of a SecureCam."`
	Floor       floorArgs       `cmd:"" help:"Measure what sealing and sending a packet costs on this machine at least."`
	Compare     compareArgs     `cmd:"" help:"Show two results beside each other."`
	Report      reportArgs      `cmd:"" help:"Write results as one HTML page."`
	Conformance conformanceArgs `cmd:"" help:"Hold a server to WHIP (RFC 9725) and WHEP, check by check."`
	Impair      impairArgs      `cmd:"" help:"Stand between a server and its peers as a bad network."`
}

type runArgs struct {
	Securecam string `group:"Server" placeholder:"URL" help:"SecureCam: a throw-away user, devices and streams are made through its API."`
	WHIP      string `group:"Server" name:"whip" placeholder:"URL" help:"Where cameras publish; {n} becomes the camera's number."`
	WHEP      string `group:"Server" name:"whep" placeholder:"URL" help:"Where viewers watch; {n} becomes the camera's number."`
	Token     string `group:"Server" help:"Bearer token of both; {n} becomes the camera's number."`
	PlayToken string `group:"Server" help:"Bearer token of viewers, if another."`
	Insecure  bool   `group:"Server" help:"Accept any TLS certificate."`
	PID       int    `group:"Server" name:"pid" help:"The server's process on this machine, to measure what it uses."`

	Cameras    int           `group:"Load" default:"1" help:"Cameras."`
	Viewers    int           `group:"Load" default:"10" help:"Viewers, dealt out to the cameras in turn."`
	Duration   time.Duration `group:"Load" default:"20s" help:"How long to measure."`
	WarmUp     time.Duration `group:"Load" default:"2s" help:"How long to wait before."`
	Codec      string        `group:"Load" enum:"vp8,vp9,h264,av1" default:"vp8" help:"Video; vp9 and av1 come from files only."`
	Audio      bool          `group:"Load" help:"Opus, too."`
	Bitrate    float64       `group:"Load" default:"2.5" help:"Mbit/s of one camera's video."`
	FPS        float64       `group:"Load" name:"fps" default:"30" help:"Frames a second."`
	Even       bool          `group:"Load" help:"All frames alike, instead of an encoder's pattern with keyframes six times as large."`
	GOP        int           `group:"Load" name:"gop" default:"300" help:"Frames between keyframes that nobody asked for; 0 for none."`
	Pace       string        `group:"Load" enum:"frame,burst,saturate" default:"frame" help:"Frames over 10 ms, at once, or back to back."`
	GSO        bool          `group:"Load" name:"gso" help:"Bursts leave in one message each, as from a network card with receive offload."`
	Simulcast  int           `group:"Load" default:"1" help:"Layers that each camera sends, up to 3."`
	MaxHeight  int           `group:"Load" help:"Lines that viewers ask for at most (?maxHeight=), of layers of 720, 360 and 180."`
	Video      string        `group:"Load" placeholder:"FILE" help:"IVF, or H.264 (Annex B, at --fps), that cameras play; say its --codec."`
	AudioFile  string        `group:"Load" placeholder:"FILE" help:"Ogg file with Opus beside it."`
	Parallel   int           `group:"Load" default:"8" help:"Set-ups at a time."`
	Rate       float64       `group:"Load" help:"Set-ups a second at most; 0 for no limit."`
	QuietSetup bool          `group:"Load" help:"Cameras are mute while viewers come in, so that set-up and memory are measured alone."`
	RTCPRate   float64       `group:"Load" name:"rtcp-rate" default:"1" help:"Receiver reports a second of each viewer."`
	NACK       bool          `group:"Load" name:"nack" help:"Each of them asks for a packet again."`
	Congestion bool          `group:"Load" help:"Viewers tell of the way in transport-wide feedback, as browsers do; with --simulcast."`

	FindMax   bool          `group:"Search" help:"Search how many viewers, up to --viewers, the server holds."`
	MinRatio  float64       `group:"Search" default:"0.999" help:"Delivery that counts as held."`
	MaxP99    time.Duration `group:"Search" name:"max-p99" default:"50ms" help:"Latency that counts as held."`
	Step      time.Duration `group:"Search" default:"6s" help:"How long to measure each number of viewers."`
	Attempts  int           `group:"Search" default:"3" help:"How often a number of viewers may fail before it counts as not held."`
	Precision float64       `group:"Search" default:"0.1" help:"How far off the result may be."`

	Verify  int           `group:"Measuring" default:"10" help:"Viewers that open and check every packet."`
	Sample  int           `group:"Measuring" default:"61" help:"The others check one packet in so many."`
	Poll    time.Duration `group:"Measuring" default:"1ms" help:"How often sockets are read; 0 for at once, at the server's cost."`
	Readers int           `group:"Measuring" default:"1" help:"Threads that read sockets."`
	Floor   time.Duration `group:"Measuring" default:"500ms" help:"How long to measure each step of the floor first; 0 leaves it out."`

	Name  string `group:"Output" help:"What to call the result."`
	JSON  string `group:"Output" name:"json" placeholder:"FILE" help:"Write the result as JSON, too."`
	Quiet bool   `group:"Output" short:"q" help:"No progress line."`
}

type floorArgs struct {
	Segments []int         `default:"1,2,4,9,16" help:"Packets of one message."`
	Duration time.Duration `default:"1s" help:"How long to measure each."`
	Read     bool          `help:"The receivers read, so that the kernel keeps every packet until then."`
}

type compareArgs struct {
	Before string `arg:"" help:"JSON of one run."`
	After  string `arg:"" help:"JSON of the other."`
}

type reportArgs struct {
	Results []string `arg:"" help:"JSON files of runs."`
}

// runLoad runs a load test and shows the result, also when the server failed
// afterwards.
func runLoad(ctx context.Context, a *runArgs, args []string, stdout, stderr io.Writer) error {
	cfg := a.config()
	cfg.Command = hideTokens(args)
	progress := newProgress(stderr, a.Quiet)
	cfg.Progress = progress.show
	result, err := trial.Run(ctx, cfg)
	progress.end()
	if err != nil && len(result.Seconds) == 0 {
		return err
	}
	return errors.Join(err, show(result, a.JSON, stdout))
}

func show(r report.Result, file string, stdout io.Writer) error {
	if err := r.Text(stdout); err != nil || file == "" {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(r.Write(f), f.Close())
}

func (a *runArgs) config() trial.Config {
	play := a.PlayToken
	if play == "" {
		play = a.Token
	}
	layers := a.Simulcast
	if layers == 1 {
		layers = 0
	}
	return trial.Config{
		SecureCam: a.Securecam, WHIP: whip.Endpoint{URL: a.WHIP, Token: a.Token}, WHEP: whip.Endpoint{URL: a.WHEP, Token: play},
		Insecure: a.Insecure, PID: a.PID,
		Cameras: a.Cameras, Viewers: a.Viewers, Duration: a.Duration, WarmUp: a.WarmUp, Audio: a.Audio || a.AudioFile != "",
		Picture: load.Picture{
			Codec: load.Codec(a.Codec), Bitrate: int(a.Bitrate * 1e6), FPS: a.FPS, Even: a.Even, GOP: a.GOP,
		},
		Pace: load.Pace(a.Pace), Joined: a.GSO, Layers: layers, MaxHeight: a.MaxHeight, VideoFile: a.Video, AudioFile: a.AudioFile,
		Parallel: a.Parallel, Rate: a.Rate, QuietSetup: a.QuietSetup, RTCPRate: a.RTCPRate, NACK: a.NACK, Congestion: a.Congestion,
		FindMax: a.FindMax, MinRatio: a.MinRatio, MaxP99: a.MaxP99, Step: a.Step, Attempts: a.Attempts, Precision: a.Precision,
		Verify: a.Verify, Sample: a.Sample, Poll: a.Poll, Readers: a.Readers, Floor: a.Floor, Name: a.Name,
	}
}

// hideTokens keeps secrets out of results, which are there to be shared.
func hideTokens(args []string) []string {
	hidden := make([]string, len(args))
	for i, arg := range args {
		name, _, joined := strings.Cut(arg, "=")
		secret := func(s string) bool { return s == "--token" || s == "--play-token" }
		switch {
		case joined && secret(name):
			arg = name + "=..."
		case i > 0 && secret(args[i-1]):
			arg = "..."
		}
		hidden[i] = arg
	}
	return hidden
}

func runFloor(ctx context.Context, a *floorArgs, stdout io.Writer) error {
	steps, err := measure.Floor(ctx, a.Segments, a.Duration, a.Read)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, report.MachineText(measure.ThisMachine()))
	fmt.Fprintln(stdout, "least CPU for a packet of 1,200 bytes, AES-128-GCM, 300 receivers on loopback:")
	for _, s := range steps {
		fmt.Fprintf(stdout, "  %2d packets a message  %5.2f µs\n", s.Segments, s.Micros)
	}
	return nil
}
