package sfu

import "time"

const (
	// floodPackets is the RTCP packets a second that a peer may send; a browser on a bad way sends less than a tenth.
	floodPackets = 1000
	// floodAsked is the packets a second that a viewer may ask for again. It is more than any stream has.
	floodAsked = 10_000
	// floodPleas is the keyframes a second that a viewer may ask for. A browser that sees nothing asks for a few.
	floodPleas = 200
	// floodPatience is how many seconds in a row a peer may send more: what comes after a stall is no attack.
	floodPatience = 5
	// ReasonFlood ends a session that does not stop.
	ReasonFlood = "rtcp_flood"
	// ReasonStreamFlood ends a session whose peer has begun more streams than a peer does in all its life.
	ReasonStreamFlood = "stream_flood"
)

// flood weighs what a peer has its server do. Everything it sends is authentic, so it is the peer's own doing. Guarded
// by the session's ingress.mu.
type flood struct {
	since                 int64
	packets, asked, pleas int
	bad                   int // seconds in a row that were too much
}

// packet counts an RTCP packet. ok is false for one that is too much to be looked at, abuse true when it has been too
// much for so long that the session should end.
func (f *flood) packet(now int64) (ok, abuse bool) {
	if now-f.since >= int64(time.Second) {
		f.turn(now)
	}
	f.packets++
	return !f.tooMuch(), f.bad >= floodPatience
}

// ask counts packets that were asked for again, and requests for keyframes.
func (f *flood) ask(packets, pleas int) {
	f.asked += packets
	f.pleas += pleas
}

func (f *flood) tooMuch() bool {
	return f.packets > floodPackets || f.asked > floodAsked || f.pleas > floodPleas
}

// turn begins another second. One without too much, or a pause, makes good.
func (f *flood) turn(now int64) {
	if f.tooMuch() && now-f.since < 2*int64(time.Second) {
		f.bad++
	} else {
		f.bad = 0
	}
	f.since, f.packets, f.asked, f.pleas = now, 0, 0, 0
}
