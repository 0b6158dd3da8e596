package bandwidth

const (
	// jamLag is how late packets must be, in ms, to have stood in a queue.
	jamLag = 25.0
	// jamTime is how long packets must come that late until their rate is that of the way, in quarters of a millisecond.
	jamTime = 60 * 4
)

// jam measures what comes out of a queue since it stands, which is all that the way carries. What came before that, over
// a way that was wider then, does not count: a meter would mix the two. Its zero value is ready.
type jam struct {
	standing    bool
	since, last uint32 // arrivals
	bytes       int    // after the first packet
}

// packet takes an acknowledged packet, in the order of sending. arrived is in quarters of a millisecond.
func (j *jam) packet(late bool, arrived uint32, size int) {
	switch {
	case !late:
		*j = jam{}
	case !j.standing:
		*j = jam{standing: true, since: arrived, last: arrived}
	default:
		if int32(arrived-j.last) > 0 {
			j.last = arrived
		}
		j.bytes += size
	}
}

// rate returns what came through, in bit/s, if that is known by now.
func (j *jam) rate() (through float64, known bool) {
	span := j.last - j.since
	if !j.standing || span < jamTime {
		return 0, false
	}
	return float64(j.bytes) * 8 / (float64(span) / 4000), true
}
