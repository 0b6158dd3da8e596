// Package sfu forwards RTP from one camera to many viewers.
//
// A packet takes six steps: layer.read and layer.keep, which the socket's readLoop calls, Ring.Put, dispatch, shard.run,
// downTrack.forward, Sink.WriteRTP. None of them allocates, logs, or takes a lock that the control plane can hold.
// Everything else in the package, set-up and tear-down of sessions included, is control plane and is guarded by SFU.mu.
package sfu
