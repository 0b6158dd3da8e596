// Package bandwidth finds out what the way to one receiver carries, and what to send through it: Google's congestion
// control (draft-ietf-rmcat-gcc-02) on transport-wide feedback, REMB or receiver reports, probing for more, and the
// budget that follows from both.
//
// It has no clock, no goroutines, no locks and no sockets: whoever owns a Controller tells it what was sent and what came
// back, and when. It allocates nothing after New. Rates are in bits a second of UDP datagrams and their IP headers; times
// are nanoseconds on a clock that never goes back, positive.
package bandwidth
