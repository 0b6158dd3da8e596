package recorder

import "time"

const (
	clockJump    = 10 * time.Second // between timestamps and arrival: then the timestamps have begun anew
	clockBack    = time.Second      // back in time, likewise
	maxSkew      = 2 * time.Second  // more is no skew, but a wrong clock at the source
	slewFraction = 8                // an eighth of the time that passes is corrected
)

// clock maps the RTP timestamps of a track to the time line of the recording, which all tracks share. A track
// begins where its first frame arrived; sender reports then say how far it is off the others. What it gives
// always grows, by a millisecond at least.
type clock struct {
	rate  int64
	begun bool
	base  time.Duration // of the first timestamp
	last  uint32        // timestamp
	ticks int64         // of last, since base
	line  time.Duration // of last, without skew
	seen  time.Duration // arrival of last
	given time.Duration

	skew, target time.Duration // added to the line, and what it should be
	settled      bool          // from here on the skew changes step by step only

	reported    bool
	reportNTP   uint64
	reportTicks uint32
}

// at returns the time of a frame that arrived then.
func (c *clock) at(timestamp uint32, arrived time.Duration) time.Duration {
	if !c.begun {
		c.begun, c.base, c.last = true, arrived, timestamp
		c.line, c.seen, c.given = arrived, arrived, arrived
		return arrived
	}
	c.advance(timestamp, arrived)
	c.given = max(c.line+c.skew, c.given+time.Millisecond)
	return c.given
}

func (c *clock) advance(timestamp uint32, arrived time.Duration) {
	step, waited := int64(int32(timestamp-c.last)), max(arrived-c.seen, 0)
	passed := c.duration(step)
	if passed < -clockBack || (passed-waited).Abs() > clockJump {
		c.base, c.ticks = c.line+waited, 0
		c.reported = false
	} else {
		c.ticks += step
	}
	line := c.base + c.duration(c.ticks)
	if c.settled {
		most := max(line-c.line, 0) / slewFraction
		c.skew += max(-most, min(most, c.target-c.skew))
	}
	c.last, c.line, c.seen = timestamp, line, max(arrived, c.seen)
}

// settle corrects the whole skew at once, before the first frame is written, and returns by how much.
func (c *clock) settle() time.Duration {
	c.settled = true
	d := c.target - c.skew
	c.skew = c.target
	c.given += d
	return d
}

// report takes a sender report: RFC 3550, section 6.4.1.
func (c *clock) report(ntp uint64, timestamp uint32) {
	c.reported, c.reportNTP, c.reportTicks = true, ntp, timestamp
}

// offset returns how far the line of the track is from the wall clock of its source.
func (c *clock) offset() (time.Duration, bool) {
	if !c.begun || !c.reported {
		return 0, false
	}
	line := c.base + c.duration(c.ticks+int64(int32(c.reportTicks-c.last)))
	return line - ntpDuration(c.reportNTP), true
}

// follow makes the track keep to another one that has the given offset from the same wall clock.
func (c *clock) follow(offset time.Duration) {
	own, ok := c.offset()
	if target := offset - own; ok && target.Abs() <= maxSkew {
		c.target = target
	}
}

func (c *clock) duration(ticks int64) time.Duration {
	return time.Duration(ticks/c.rate)*time.Second + time.Duration(ticks%c.rate)*time.Second/time.Duration(c.rate)
}

// ntpDuration converts seconds with 32 bits of fraction.
func ntpDuration(ntp uint64) time.Duration {
	return time.Duration(ntp>>32)*time.Second + time.Duration(ntp&0xFFFFFFFF*uint64(time.Second)>>32)
}
