package recorder

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"
	eb "github.com/at-wat/ebml-go/webm"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	mediaLength = 6 * time.Second
	frameLength = 40 * time.Millisecond // 25 pictures a second
	keyframes   = 3                     // one every two seconds
)

// source is encoded media: what a camera would send.
type source struct {
	mime   string
	file   []byte // Matroska, as ffmpeg made it
	frames []sourceFrame
	audio  []sourceFrame
	md5    []string // of the decoded pictures
}

type sourceFrame struct {
	at   time.Duration
	data []byte
	key  bool
}

var encoders = map[string][]string{
	"video/VP8":  {"-c:v", "libvpx", "-deadline", "realtime", "-b:v", "600k"},
	"video/VP9":  {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k", "-lag-in-frames", "0"},
	"video/AV1":  {"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-b:v", "600k", "-lag-in-frames", "0"},
	"video/H264": {"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "600k"},
}

var (
	sourcesMu sync.Mutex
	sources   = map[string]*source{}
)

// media returns encoded media of a codec, made once.
func media(t *testing.T, mime, size string) *source {
	t.Helper()
	sourcesMu.Lock()
	defer sourcesMu.Unlock()
	if s := sources[mime+size]; s != nil {
		return s
	}
	path := filepath.Join(t.TempDir(), "source.mkv")
	args := []string{
		"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=" + size + ":rate=25", "-f", "lavfi",
		"-i", "sine=frequency=440:sample_rate=48000", "-t", "6", "-g", "50", "-keyint_min", "50", "-pix_fmt", "yuv420p",
	}
	args = append(append(args, encoders[mime]...), "-c:a", "libopus", "-ac", "2", "-b:a", "32k", path)
	run(t, "ffmpeg", args...)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{mime: mime, file: file}
	s.split(t)
	s.md5 = pictures(t, path)
	sources[mime+size] = s
	return s
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed to test recordings: install ffmpeg and mkvtoolnix: %v", name, err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return stdout.String()
}

// parsed is a file as an independent reader sees it.
type parsed struct {
	Header  eb.EBMLHeader `ebml:"EBML"`
	Segment eb.Segment    `ebml:"Segment"`
}

func parse(t *testing.T, data []byte) parsed {
	t.Helper()
	var p parsed
	if err := ebml.Unmarshal(bytes.NewReader(data), &p, ebml.WithIgnoreUnknown(true)); err != nil {
		t.Fatalf("parse: %v", err)
	}
	return p
}

// split takes the frames out of the file and brings them into the form that payloaders take.
func (s *source) split(t *testing.T) {
	t.Helper()
	p := parse(t, s.file)
	var parameters []byte
	for _, e := range p.Segment.Tracks.TrackEntry {
		if e.CodecID == "V_MPEG4/ISO/AVC" {
			parameters = annexBParameters(e.CodecPrivate)
		}
	}
	for _, c := range p.Segment.Cluster {
		for _, b := range c.SimpleBlock {
			f := sourceFrame{
				at:   time.Duration(int64(c.Timecode)+int64(b.Timecode)) * time.Millisecond,
				data: b.Data[0], key: b.Keyframe,
			}
			switch {
			case b.TrackNumber == 2:
				s.audio = append(s.audio, f)
				continue
			case s.mime == "video/H264":
				f.data = annexB(f.data)
				if f.key {
					f.data = append(bytes.Clone(parameters), f.data...)
				}
			}
			s.frames = append(s.frames, f)
		}
	}
	first := s.frames[0].at // ffmpeg makes room for the delay of Opus
	for i := range s.frames {
		s.frames[i].at -= first
	}
	if len(s.frames) != int(mediaLength/frameLength) || len(s.audio) < 300 {
		t.Fatalf("%s: %d pictures, %d packets of sound", s.mime, len(s.frames), len(s.audio))
	}
}

func annexB(avcc []byte) []byte {
	var b []byte
	for len(avcc) > 4 {
		n := int(binary.BigEndian.Uint32(avcc))
		b = append(append(b, 0, 0, 0, 1), avcc[4:4+n]...)
		avcc = avcc[4+n:]
	}
	return b
}

func annexBParameters(avcC []byte) []byte {
	n := int(binary.BigEndian.Uint16(avcC[6:]))
	b := append([]byte{0, 0, 0, 1}, avcC[8:8+n]...)
	rest := avcC[9+n:]
	n = int(binary.BigEndian.Uint16(rest))
	return append(append(b, 0, 0, 0, 1), rest[2:2+n]...)
}

// sent is a packet and when it is sent.
type sent struct {
	at    time.Duration
	audio bool
	rtp.Header
	payload []byte
}

type payloader interface {
	Payload(mtu uint16, payload []byte) [][]byte
}

func payloaderOf(mime string) payloader {
	switch mime {
	case "video/VP8":
		return &codecs.VP8Payloader{EnablePictureID: true}
	case "video/VP9":
		return &codecs.VP9Payloader{FlexibleMode: true}
	case "video/AV1":
		return &codecs.AV1Payloader{}
	}
	return &codecs.H264Payloader{}
}

// Numbers that wrap within the first second.
const (
	firstSequence  = 65500
	firstTimestamp = 1<<32 - 20000
)

// packets returns the packets of a source in the order in which they are sent.
func (s *source) packets() []sent {
	var out []sent
	seq, video := uint16(firstSequence), payloaderOf(s.mime)
	for _, f := range s.frames {
		payloads := video.Payload(1100, f.data)
		for i, p := range payloads {
			h := rtp.Header{SequenceNumber: seq, Timestamp: uint32(firstTimestamp + int64(f.at)*90000/int64(time.Second))}
			h.Marker = i == len(payloads)-1
			out = append(out, sent{at: f.at, Header: h, payload: p})
			seq++
		}
	}
	seq = firstSequence
	for i, f := range s.audio {
		h := rtp.Header{SequenceNumber: seq, Timestamp: uint32(firstTimestamp + i*960)}
		out = append(out, sent{at: time.Duration(i) * 20 * time.Millisecond, audio: true, Header: h, payload: f.data})
		seq++
	}
	slices.SortStableFunc(out, func(a, b sent) int { return cmp.Compare(a.at, b.at) })
	return out
}
