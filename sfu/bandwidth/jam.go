package bandwidth

const (
	// jamLag is how late packets must be, in ms, to have stood in a queue.
	jamLag = 25.0
	// jamTime is how long packets must come that late until their rate is that of the way, in quarters of a millisecond.
	jamTime = 60 * 4
	// jamMemory is for how long it counts after the queue is gone, in quarters of a millisecond: a trend is seen late.
	jamMemory = 300 * 4
	// jamHalf is half the longest time that is measured over, in quarters of a millisecond: a way may become narrower
	// while the queue stands.
	jamHalf = 250 * 4
)

// jam measures what comes out of a queue while it stands, of late, which is all that the way carries. What came before it
// stood, over a way that was wider then, does not count: a meter would mix the two. Its zero value is ready.
type jam struct {
	standing    bool
	since, last uint32 // arrivals
	bytes       int    // after the first packet
	middle      uint32 // the arrival at which the second half began, in which came
	half        int    // bytes

	through float64 // of the last queue that stood long enough
	ended   uint32  // when it was measured last
}

// packet takes an acknowledged packet, in the order of sending. arrived is in quarters of a millisecond.
func (j *jam) packet(late bool, arrived uint32, size int) {
	switch {
	case !late:
		j.standing = false
		return
	case !j.standing:
		j.standing, j.since, j.last, j.bytes = true, arrived, arrived, 0
		j.middle, j.half = arrived, 0
		return
	}
	if int32(arrived-j.last) > 0 {
		j.last = arrived
	}
	j.bytes += size
	j.half += size
	if span := j.last - j.since; span >= jamTime {
		j.through, j.ended = float64(j.bytes)*8/(float64(span)/4000), j.last
	}
	if j.last-j.middle >= jamHalf {
		j.since, j.bytes = j.middle, j.half
		j.middle, j.half = j.last, 0
	}
}

// rate returns what comes through of the queue that stands, in bit/s, if that is known by now.
func (j *jam) rate() (through float64, known bool) {
	return j.through, j.standing && j.last-j.since >= jamTime
}

// lately returns what came through of a queue that stood until not long before now, an arrival; 0 if none did.
func (j *jam) lately(now uint32) float64 {
	if j.through > 0 && now-j.ended <= jamMemory {
		return j.through
	}
	return 0
}
