package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

const (
	// defaultFPS is for files that do not say when their pictures are shown.
	defaultFPS = 30
	// Pictures last no shorter and no longer, whatever a file says.
	minTook, maxTook = time.Millisecond, 10 * time.Second
)

// clip is a file's media, read as a whole. It may be played by many cameras
// at once.
type clip struct {
	mime    string
	samples []sample
}

// sample is a picture, or what an Ogg page holds.
type sample struct {
	data []byte
	took time.Duration // until the next one
	key  bool          // a decoder can begin with it
}

// readVideo reads an IVF file, or one of H.264 in Annex B's format.
func readVideo(path string, fps float64) (*clip, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &clip{mime: webrtc.MimeTypeH264}
	return c, c.check(path, c.readVideo(b, fps))
}

func (c *clip) readVideo(b []byte, fps float64) error {
	if bytes.HasPrefix(b, []byte("DKIF")) {
		return c.readIVF(bytes.NewReader(b))
	}
	return c.readH264(bytes.NewReader(b), fps)
}

// readAudio reads an Ogg file with Opus.
func readAudio(path string) (*clip, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &clip{mime: webrtc.MimeTypeOpus}
	return c, c.check(path, c.readOgg(bytes.NewReader(b)))
}

func (c *clip) check(path string, err error) error {
	if err == nil && len(c.samples) == 0 {
		err = errors.New("nothing in it")
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("peer: %s: %w", path, err)
}

func (c *clip) readIVF(r io.Reader) error {
	ivf, header, err := ivfreader.NewWith(r)
	if err != nil {
		return err
	}
	formats := map[string]struct {
		mime string
		key  func([]byte) bool
	}{
		"VP80": {webrtc.MimeTypeVP8, keyVP8}, "VP90": {webrtc.MimeTypeVP9, keyVP9}, "AV01": {webrtc.MimeTypeAV1, keyAV1},
	}
	format, ok := formats[header.FourCC]
	if !ok {
		return errors.New("unknown codec " + header.FourCC)
	}
	c.mime = format.mime
	tick := float64(header.TimebaseNumerator) / float64(header.TimebaseDenominator)
	var times []float64
	for {
		frame, h, err := ivf.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		// pion has divided the file's number by the length of a tick, where a
		// time is the two multiplied.
		times = append(times, float64(h.Timestamp)*tick*tick)
		c.samples = append(c.samples, sample{data: frame, key: format.key(frame)})
	}
	last := tick
	for i := range c.samples {
		if i+1 < len(times) && times[i+1] > times[i] {
			last = times[i+1] - times[i]
		}
		c.samples[i].took = duration(last) // the last one as long as the one before
	}
	return nil
}

// duration is how long a picture lasts, by its seconds.
func duration(seconds float64) time.Duration {
	return time.Duration(max(minTook.Seconds(), min(seconds, maxTook.Seconds())) * float64(time.Second))
}

func keyVP8(frame []byte) bool { return len(frame) > 0 && frame[0]&1 == 0 } // RFC 6386, section 9.1

// keyVP9 reads the uncompressed header: VP9 bitstream specification, section 6.2.
func keyVP9(frame []byte) bool {
	const profile3, shown, inter = 0x30, 0x08, 0x04
	if len(frame) == 0 || frame[0]>>6 != 2 {
		return false
	}
	b := frame[0]
	if b&profile3 == profile3 { // a reserved bit more
		b <<= 1
	}
	return b&(shown|inter) == 0
}

// keyAV1 looks for a sequence header at the beginning of a temporal unit: AV1 specification, section 7.5.
func keyAV1(unit []byte) bool {
	const sequenceHeader, delimiter = 1, 2
	kind := func(b []byte) byte {
		if len(b) == 0 {
			return 0
		}
		return b[0] >> 3 & 15
	}
	if kind(unit) == delimiter && len(unit) > 2 { // of no length, but with a size
		unit = unit[2:]
	}
	return kind(unit) == sequenceHeader
}

// readH264 reads access units: ITU-T H.264, section 7.4.1.2.3.
func (c *clip) readH264(r io.Reader, fps float64) error {
	h264, err := h264reader.NewReader(r)
	if err != nil {
		return err
	}
	if fps <= 0 {
		fps = defaultFPS
	}
	took := duration(1 / fps)
	unit, sliced := sample{took: took}, false
	end := func() {
		if sliced {
			c.samples = append(c.samples, unit)
			unit, sliced = sample{took: took}, false
		}
	}
	for {
		nal, err := h264.NextNAL()
		if errors.Is(err, io.EOF) {
			end()
			return nil
		}
		if err != nil {
			return err
		}
		slice := nal.UnitType >= h264reader.NalUnitTypeCodedSliceNonIdr && nal.UnitType <= h264reader.NalUnitTypeCodedSliceIdr
		// A slice whose first macroblock is the picture's begins with the bit 1.
		if !slice || len(nal.Data) > 1 && nal.Data[1]&0x80 != 0 {
			end()
		}
		sliced = sliced || slice
		unit.key = unit.key || nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr
		unit.data = append(append(unit.data, 0, 0, 0, 1), nal.Data...)
	}
}

func (c *clip) readOgg(r io.Reader) error {
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
		c.samples = append(c.samples, sample{data: page, took: time.Duration(samples) * time.Second / 48000, key: true})
	}
}

// from returns the first sample at or after i that a decoder can begin with,
// also beyond the end.
func (c *clip) from(i int) int {
	for k := range c.samples {
		if at := (i + k) % len(c.samples); c.samples[at].key {
			return at
		}
	}
	return i % len(c.samples)
}
