// Package impair is a bad network for UDP: a relay in front of a server's media port that loses, delays, reorders,
// repeats, throttles and moves what goes through it, each direction by itself, as a seed decides. It needs no rights and
// nothing of the kernel.
//
// A Proxy relays datagrams. Signalling is an HTTP relay in front of the same server's WHIP and WHEP, which changes the
// candidates in offers and answers so that the peers' media has no other way than through a Proxy.
package impair
