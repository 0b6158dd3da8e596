package load

import (
	"math"
	"math/rand/v2"
)

// Picture says how a video track behaves.
type Picture struct {
	Codec   Codec
	Bitrate int     // bits of payload a second
	FPS     float64 // frames a second
	// Even makes all frames alike; otherwise sizes scatter as an encoder's do
	// and a keyframe is six times the others.
	Even bool
	// GOP is the number of frames between two keyframes that nobody asked for;
	// 0 sends keyframes on request only.
	GOP int
}

// Packets is how many packets a frame has on average, at least one.
func (p Picture) Packets() int {
	if p.FPS <= 0 {
		return 1
	}
	return max(int(math.Round(float64(p.Bitrate)/8/p.FPS/maxPayload)), 1)
}

const (
	// maxPayload is the RTP payload of a full packet: the servers' own
	// extensions and tags fit an Ethernet frame too.
	maxPayload = 1150
	minPayload = maxPrefix + stampSize + 1
	keyframe   = 6.0  // size against other frames
	scatter    = 0.25 // standard deviation of the logarithm of sizes
)

// frames yields the sizes of frames.
type frames struct {
	picture Picture
	mean    float64 // of an ordinary frame, bytes
	random  *rand.Rand
	count   int
}

func newFrames(p Picture, seed uint64) *frames {
	mean := float64(p.Bitrate) / 8 / p.FPS
	if p.Even {
		// Whole packets only.
		mean = math.Max(math.Round(mean/maxPayload), 1) * maxPayload
	} else if p.GOP > 0 {
		mean *= float64(p.GOP) / (float64(p.GOP) - 1 + keyframe)
	}
	return &frames{picture: p, mean: mean, random: rand.New(rand.NewPCG(seed, 1))}
}

// next returns the size of the next frame, which is a keyframe if asked for,
// if it is the first, or if it is time.
func (f *frames) next(wanted bool) (size int, key bool) {
	key = wanted || f.count == 0 || f.picture.GOP > 0 && f.count%f.picture.GOP == 0
	f.count++
	if f.picture.Even {
		return int(f.mean), key
	}
	scale := math.Exp(scatter*f.random.NormFloat64() - scatter*scatter/2)
	if key {
		scale = keyframe
	}
	return max(int(f.mean*scale), minPayload), key
}

// split divides a frame into payloads of nearly equal size, as libwebrtc does.
func split(size int, dst []int) []int {
	n := (size + maxPayload - 1) / maxPayload
	for i := range n {
		part := size / n
		if i < size%n {
			part++
		}
		dst = append(dst, max(part, minPayload))
	}
	return dst
}
