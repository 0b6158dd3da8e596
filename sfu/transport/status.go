package transport

import (
	"time"

	"github.com/pion/ice/v4"
)

// Why a transport did not connect.
const (
	// FailureNoPath: no pair of candidates worked.
	FailureNoPath = "no_path"
	// FailureHandshake: a pair worked, but DTLS did not.
	FailureHandshake = "handshake"
	// FailureFingerprint: the peer's certificate was not the one that its SDP names.
	FailureFingerprint = "fingerprint"
)

// Status is what a transport has come to.
type Status struct {
	ReachedAt time.Time // when ICE found a way first, zero before
	Connected bool
	Failure   string // why it did not connect, "" as long as that is not known
	Pairs     []Pair // that were tried
	RTT       time.Duration
}

// Pair is a pair of candidates: "host", "srflx", "prflx" or "relay", over "udp" or "tcp".
type Pair struct {
	Local, Remote, Protocol string
	RemoteAddress           string
	State                   string // RFC 8445, section 6.1.2.6: "waiting", "in-progress", "succeeded", "failed"
	Selected                bool
}

// maxPairs bounds what Status tells.
const maxPairs = 32

// Status returns what the transport has come to. It waits for the ICE agent, and after Close tells little.
func (t *Transport) Status() Status {
	st := Status{Connected: t.connected.Load(), RTT: t.RTT()}
	if at := t.reached.Load(); at != nil {
		st.ReachedAt = *at
	}
	if !st.Connected && t.ended() {
		switch {
		case t.mismatch.Load():
			st.Failure = FailureFingerprint
		case t.pair.Load() != nil:
			st.Failure = FailureHandshake
		default:
			st.Failure = FailureNoPath
		}
	}
	known := make(map[string]ice.CandidateStats)
	for _, c := range append(t.agent.GetLocalCandidatesStats(), t.agent.GetRemoteCandidatesStats()...) {
		known[c.ID] = c
	}
	selected, chosen := t.agent.GetSelectedCandidatePairStats()
	for _, p := range t.agent.GetCandidatePairsStats() {
		if len(st.Pairs) == maxPairs {
			break
		}
		local, remote := known[p.LocalCandidateID], known[p.RemoteCandidateID]
		st.Pairs = append(st.Pairs, Pair{
			Local: local.CandidateType.String(), Remote: remote.CandidateType.String(), Protocol: remote.NetworkType.NetworkShort(),
			RemoteAddress: remote.IP, State: p.State.String(),
			Selected: chosen && p.LocalCandidateID == selected.LocalCandidateID && p.RemoteCandidateID == selected.RemoteCandidateID,
		})
	}
	return st
}
