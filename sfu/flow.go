package sfu

import "time"

// flow is how much a down track sends, by what it had sent at moments a second apart. Owned by the shard.
type flow struct {
	octets  uint64
	at      time.Time
	bitrate int
}

// sample takes what was sent until now into account.
func (f *flow) sample(octets uint64, now time.Time) {
	span := now.Sub(f.at)
	if span < reportInterval/2 {
		return
	}
	if !f.at.IsZero() {
		f.bitrate = int(float64(octets-f.octets) * 8 / span.Seconds())
	}
	f.octets, f.at = octets, now
}
