package main

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/bench/peer"
)

// makeMedia encodes ten seconds of VP8 with a keyframe a second, and Opus in
// pages of one packet, once for all tests.
var makeMedia = sync.OnceValues(func() (peer.Media, error) {
	dir, err := os.MkdirTemp("", "securecam-media-")
	if err != nil {
		return peer.Media{}, err
	}
	mediaDir.Store(&dir)
	m := peer.Media{Video: filepath.Join(dir, "video.ivf"), Audio: filepath.Join(dir, "audio.ogg")}
	for _, args := range [][]string{
		{
			"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=10", "-c:v", "libvpx", "-b:v", "500k",
			"-g", "30", "-deadline", "realtime", "-cpu-used", "8", m.Video,
		},
		{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=10", "-c:a", "libopus", "-page_duration", "20000", m.Audio},
	} {
		out, err := exec.Command("ffmpeg", append([]string{"-v", "error", "-y"}, args...)...).CombinedOutput()
		if err != nil {
			return m, &mediaError{err, out}
		}
	}
	return m, nil
})

// mediaDir is where makeMedia has put them, if it has.
var mediaDir atomic.Pointer[string]

func removeMedia() error {
	if dir := mediaDir.Load(); dir != nil {
		return os.RemoveAll(*dir)
	}
	return nil
}

type mediaError struct {
	err error
	out []byte
}

func (e *mediaError) Error() string { return "ffmpeg: " + e.err.Error() + "\n" + string(e.out) }

func testMedia(t *testing.T) peer.Media {
	t.Helper()
	m, err := makeMedia()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// inspectRecording has ffmpeg decode the file and mkvinfo list it: neither may
// have anything to complain of, and the cues must be there.
func inspectRecording(t *testing.T, file string, duration time.Duration) {
	t.Helper()
	silent := func(name string, args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	silent("ffmpeg", "-v", "error", "-xerror", "-i", file, "-f", "null", "-")

	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-of", "json",
		"-show_entries", "format=duration:stream=codec_name", file).Output()
	if err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	var probe struct {
		Format struct {
			Duration string `json:"duration"`
		} `json:"format"`
		Streams []struct {
			CodecName string `json:"codec_name"`
		} `json:"streams"`
	}
	if err := json.Unmarshal(out, &probe); err != nil {
		t.Fatal(err)
	}
	got, err := strconv.ParseFloat(probe.Format.Duration, 64)
	if err != nil || math.Abs(got-duration.Seconds()) > 0.1 || got < 1 {
		t.Errorf("ffprobe says %q seconds, the row %v", probe.Format.Duration, duration)
	}
	if len(probe.Streams) != 2 {
		t.Errorf("the recording has the streams %+v, want video and audio", probe.Streams)
	}
	info, err := exec.CommandContext(t.Context(), "mkvinfo", "--all", file).CombinedOutput()
	if err != nil {
		t.Fatalf("mkvinfo: %v\n%s", err, info)
	}
	if text := string(info); strings.Count(text, "Cue point") == 0 || strings.Contains(strings.ToLower(text), "error") {
		t.Errorf("mkvinfo shows no cues, or an error:\n%s", text)
	}
}

func decode(t *testing.T, data []byte, out any) {
	t.Helper()
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatalf("%v in %q", err, data)
	}
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
