package recorder

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// validate holds a recording against every tool there is; all of them have to be silent.
func validate(t *testing.T, data []byte) report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recording.webm")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := report{parsed: parse(t, data)}
	r.md5 = pictures(t, path)
	run(t, "ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-")
	out := run(t, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path)
	seconds, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	if err != nil {
		t.Fatalf("ffprobe: duration %q", out)
	}
	r.duration = time.Duration(seconds * float64(time.Second))
	info := run(t, "mkvinfo", "--all", path)
	for _, complaint := range []string{"Error", "error", "Warning", "warning", "unknown", "Unknown", "truncated"} {
		if strings.Contains(info, complaint) {
			t.Errorf("mkvinfo: %s\n%s", complaint, info[:min(len(info), 4000)])
		}
	}
	r.cues = strings.Count(info, "Cue point")
	if r.cues != len(r.Segment.Cues.CuePoint) {
		t.Errorf("mkvinfo sees %d cues, ebml-go %d", r.cues, len(r.Segment.Cues.CuePoint))
	}
	r.check(t)
	return r
}

// pictures returns the checksums of the decoded pictures of a file.
func pictures(t *testing.T, path string) []string {
	t.Helper()
	var sums []string
	for _, line := range strings.Split(run(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:v?", "-f", "framemd5", "-"), "\n") {
		if line != "" && line[0] != '#' {
			sums = append(sums, line[strings.LastIndexByte(line, ',')+1:])
		}
	}
	return sums
}

// report is what the tools say about a recording.
type report struct {
	parsed
	md5      []string // of the decoded pictures
	duration time.Duration
	cues     int
}

// check holds the blocks against the rules of the recorder.
func (r report) check(t *testing.T) {
	t.Helper()
	if err := r.rules(); err != nil {
		t.Error(err)
	}
}

func (p parsed) rules() error {
	last := map[uint64]int64{}
	for i, c := range p.Segment.Cluster {
		if i == 0 && (c.Timecode != 0 || c.SimpleBlock[0].Timecode != 0 || !c.SimpleBlock[0].Keyframe) {
			return fmt.Errorf("begins at %d%+d ms, keyframe %t", c.Timecode, c.SimpleBlock[0].Timecode, c.SimpleBlock[0].Keyframe)
		}
		for _, b := range c.SimpleBlock {
			at := int64(c.Timecode) + int64(b.Timecode)
			if before, ok := last[b.TrackNumber]; ok && at <= before {
				return fmt.Errorf("track %d: %d ms after %d ms", b.TrackNumber, at, before)
			}
			last[b.TrackNumber] = at
		}
	}
	return nil
}

// blocks returns the times of a track's blocks.
func (p parsed) blocks(track uint64) []time.Duration {
	var out []time.Duration
	for _, c := range p.Segment.Cluster {
		for _, b := range c.SimpleBlock {
			if b.TrackNumber == track {
				out = append(out, time.Duration(int64(c.Timecode)+int64(b.Timecode))*time.Millisecond)
			}
		}
	}
	return out
}
