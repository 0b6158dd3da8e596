package bandwidth

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
)

// joining is a simulation of a viewer who comes to a camera that runs: layers begin with keyframes, which count in what is
// measured of them, and what came since the last one is sent first.
type joining struct {
	*simulation
	weight   float64 // of a keyframe, in other frames
	measured []int   // bit/s
	counted  [][2]int
	asked    []int64 // when the layer's next keyframe comes, 0 for never
	group    [][]int // bytes of the frames since the last one
	backlog  []int   // bytes of frames that are to be caught up with
	pace     float64 // bytes a second, of that
	may      float64 // bytes
	decided  Decision
	changed  int64 // when the viewer last began to follow another layer, or to wait for it
	began    int64
}

// join has a viewer come when the camera's last keyframe is so old.
func join(t *testing.T, w way, seed uint64, weight float64, age time.Duration, layers ...int) *joining {
	t.Helper()
	n := len(layers)
	j := &joining{
		simulation: &simulation{
			t: t, way: w, layers: layers, wish: n, audio: 40_000, rng: rand.New(rand.NewPCG(seed, 5)),
			now: 1000 * second, current: -1, target: -1, rec: twcc.NewRecorder(1),
		},
		weight: weight, measured: make([]int, n), counted: make([][2]int, n), asked: make([]int64, n), group: make([][]int, n),
	}
	s := j.simulation
	s.repeat(second/30, j.frames)
	s.repeat(500*millisecond, j.measure)
	s.run(1200 * time.Millisecond)
	for i := range layers {
		j.asked[i] = s.now
	}
	s.run(age + 20*time.Millisecond)
	s.c, j.began, j.changed, s.lastDone = New(s.now, true), s.now, s.now, s.now
	s.budget = s.c.Begin(s.now, j.need(0)*11/10)
	j.pace = float64(s.budget) / 8 * 1.5
	j.choose()
	s.repeat(20*millisecond, j.tick)
	s.repeat(5*millisecond, j.catchUp)
	s.repeat(20*millisecond, func() { s.send(120, nil) })
	s.repeat(60*millisecond, s.feedback)
	return j
}

// need is what it takes to send a layer, as it is measured.
func (j *joining) need(layer int) int {
	if layer < 0 {
		return j.audio
	}
	return j.audio + j.measured[layer]
}

// more is what a budget must be for a layer to begin.
func (j *joining) more(layer int) int { return j.audio + j.measured[layer]*11/10 }

func (j *joining) measure() {
	for i := range j.layers {
		j.measured[i] = (j.counted[i][0] + j.counted[i][1]) * 8
		j.counted[i] = [2]int{j.counted[i][1], 0}
	}
	if j.c != nil {
		j.choose()
	}
}

// frames has each layer make one, and the viewer go over to a layer with its keyframe.
func (j *joining) frames() {
	for i, rate := range j.layers {
		mean := float64(rate) / 8 / 30
		size := int(mean * (0.75 + 0.5*j.rng.Float64()))
		key := j.asked[i] != 0 && j.now >= j.asked[i]
		if key {
			size, j.asked[i], j.group[i] = int(mean*j.weight), 0, nil
		}
		j.counted[i][1] += size + (size/1100+1)*64
		j.group[i] = append(j.group[i], size)
		if j.c == nil {
			continue
		}
		if key && i == j.target && i != j.current {
			j.current, j.changed, j.backlog = i, j.now, nil
		}
		if i == j.current {
			j.backlog = append(j.backlog, size)
			if len(j.backlog) == 1 {
				j.frameOf(size)
				j.backlog = nil
			}
		}
	}
}

// frameOf sends a frame, or what is left of it. It is complete when its last packet is.
func (j *joining) frameOf(size int) {
	n := size/1100 + 1
	left, good := n, true
	for range n {
		j.send(size/n+36, func(ok bool) {
			left--
			good = good && ok
			if left == 0 && good {
				j.seen()
			}
		})
	}
}

func (j *joining) seen() {
	j.worst = max(j.worst, j.now-j.lastDone)
	j.lastDone = j.now
}

// catchUp sends the next packets of what came since the keyframe.
func (j *joining) catchUp() {
	j.may = min(j.may, 0) + j.pace*0.005
	for j.may > 0 && len(j.backlog) > 0 {
		n := min(j.backlog[0], 1100)
		j.backlog[0] -= n
		last := j.backlog[0] == 0
		if last {
			j.backlog = j.backlog[1:]
		}
		j.may -= float64(n)
		j.send(n+36, func(ok bool) {
			if ok && last {
				j.seen()
			}
		})
	}
}

// choose does as the SFU does: the first layer begins at once, others with a keyframe that takes a moment.
func (j *joining) choose() {
	best := -1
	for i := range j.layers {
		need := j.need(i)
		if i > j.target {
			need = j.more(i)
		}
		if need <= j.budget || i == 0 && !j.decided.Starving || i == j.target && j.decided.Keep {
			best = i
		}
	}
	if best == j.target {
		return
	}
	switch {
	case best < 0:
		j.current = -1
	case j.current < 0:
		j.current, j.backlog = best, append([]int(nil), j.group[best]...)
	case best != j.current:
		j.asked[best] = j.now + 60*millisecond + j.rng.Int64N(40*millisecond)
	}
	j.target, j.changed = best, j.now
	j.switches = append(j.switches, fmt.Sprintf("%.2fs:%d(%dk)", float64(j.now-j.began)/float64(second), best, j.budget/1000))
}

func (j *joining) tick() {
	d := Demand{Sent: j.need(j.target), Last: j.target == 0}
	if j.target+1 < j.wish {
		d.Next, d.Goal = j.more(j.target+1), j.more(j.wish-1)
	}
	j.decided = j.c.Tick(j.now, d)
	j.budget = j.decided.Budget
	for sent := 0; sent < j.decided.Padding; sent += 1100 {
		j.send(1100, nil)
	}
	j.choose()
}

// TestJoinSettles has a viewer come to three layers over a way that carries the middle one: it has that soon and keeps it,
// whatever the camera's keyframes weigh, however old the last one is, and whoever else has it send another.
func TestJoinSettles(t *testing.T) {
	t.Parallel()
	const want, gap = 2 * second, 450 * millisecond
	for _, rate := range []int{800_000, 1_000_000, 1_200_000, 1_500_000} {
		for _, queue := range []int{16 << 10, 32 << 10, 64 << 10, 256 << 10} {
			t.Run(fmt.Sprintf("%d kbit/s behind %d KiB", rate/1000, queue>>10), func(t *testing.T) {
				t.Parallel()
				slowest, longest := int64(0), int64(0)
				for n := range uint64(72) {
					delay := []int64{10, 20, 50, 100}[n%4] * millisecond
					middle := []int{380_000, 440_000, 500_000}[n/4%3]
					weight := []float64{5, 10}[n/12%2]
					age := time.Duration(n/24%3) * 1300 * time.Millisecond
					j := join(t, way{rate: rate, queue: queue, delay: delay}, n, weight, age, 150_000, middle, 4_300_000)
					for range 3 {
						j.run(4 * time.Second)
						j.weight = 5
						j.asked[1] = j.now
					}
					slowest, longest = max(slowest, j.changed-j.began), max(longest, j.worst)
					if j.current != 1 || j.changed-j.began > want || j.worst > gap {
						t.Errorf("%d: %v away, %d bit/s, keyframes of %v, the last %v old: %v", n, time.Duration(delay), middle, weight, age, j)
					}
				}
				t.Logf("settled after %v at most, %v without a frame", time.Duration(slowest), time.Duration(longest))
			})
		}
	}
}
