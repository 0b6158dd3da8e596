package measure

import "time"

// Usage is what a process has used since it started.
type Usage struct {
	CPU          time.Duration // as the scheduler counts it
	Waited       time.Duration // ready to run, while others had the processors
	User, System time.Duration // by the clock tick; only their ratio is good for short times
	Voluntary    uint64        // context switches
	Involuntary  uint64
	RSS          int64 // bytes, now
	Threads      int   // now
}

// Sub returns what was used between before and u; RSS and Threads stay.
func (u Usage) Sub(before Usage) Usage {
	u.CPU -= before.CPU
	u.Waited -= before.Waited
	u.User -= before.User
	u.System -= before.System
	u.Voluntary -= before.Voluntary
	u.Involuntary -= before.Involuntary
	return u
}

// SystemShare returns the part of the CPU time that the kernel took.
func (u Usage) SystemShare() float64 {
	if u.User+u.System <= 0 {
		return 0
	}
	return float64(u.System) / float64(u.User+u.System)
}
