package sfu

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/bandwidth"
	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/feedback"
	"github.com/securecam/securecam/sfu/transport"
)

const (
	// pastSessions is how many sessions that ended a media session remembers.
	pastSessions = 16
	// snapshotWait is how long a shard may take to tell of its down tracks.
	snapshotWait = 500 * time.Millisecond
)

// SessionStatus is one WHIP or WHEP session at one moment, or how it ended.
type SessionStatus struct {
	Role        string // "publish" or "play"
	Viewer      string // of "play": its stream session
	Since       time.Time
	ConnectedAt time.Time // zero before
	EndedAt     time.Time // zero while it goes on
	Reason      string    // why it ended
	Detail      string    // what was wrong with an offer that was refused
	Offered     CandidateCounts
	Transport   transport.Status
	Profile     string // of SRTP
	Tracks      []TrackStatus
	Way         *WayStatus // nil unless the way to a viewer decides what it gets
}

// WayStatus is what congestion control makes of the way to a viewer. Rates are in bit/s.
type WayStatus struct {
	Estimate int           // what the way is believed to carry
	Budget   int           // what may be sent; it moves less
	Target   int           // what is chosen within that, as it was measured at the camera
	Paused   bool          // no video: not even the least that there is gets through
	Probing  bool          // more is sent than the media, to find out
	Loss     float64       // share lost on the way lately, 0 to 1, before repairs
	RTT      time.Duration // of the last feedback, 0 if none came
	Padding  uint64        // bytes sent beside the media
	bandwidth.Stats
}

// CandidateCounts are the candidates of an offer. Hidden ones have a name of mDNS instead of an address.
type CandidateCounts struct{ Host, Reflexive, Relay, TCP, Hidden int }

// TrackStatus is one track of a session. Loss is the share lost in the last interval of reports, 0 to 1.
type TrackStatus struct {
	Kind, MimeType, Fmtp string
	Rejected             bool // by us: the camera sends no such track
	RID                  string
	Packets              uint64 // sent to a viewer
	Loss                 float64
	Jitter               time.Duration
	Paused               bool // nothing fits the viewer's link or wish
	Waiting              bool // for a keyframe
	SilentFor            time.Duration

	// Profile and Level are those of H.264 that a camera sends, "" if they are not known. Beyond says that it agreed on a
	// lesser profile, BFrames that pictures refer to later ones.
	Profile, Level  string
	Agreed          string // profile
	Beyond, BFrames bool

	NACKs            uint64 // packets that the receiver asked for again
	Retransmitted    uint64 // of those, that it was sent again
	KeyframeRequests uint64 // PLI and FIR
}

// reported is the last that a receiver said of a stream.
type reported struct{ fraction, jitter atomic.Uint32 }

func (r *reported) store(b feedback.Block) {
	r.fraction.Store(uint32(b.FractionLost))
	r.jitter.Store(b.Jitter)
}

func (r *reported) loss() float64 { return float64(r.fraction.Load()) / 256 }

func (r *reported) delay(clockRate uint32) time.Duration {
	return time.Duration(r.jitter.Load()) * time.Second / time.Duration(max(clockRate, 1))
}

// Sessions returns the sessions of a media session, and the last ones that have ended, in no order. It waits for ICE
// agents and shards, none of them for long.
func (s *SFU) Sessions(mediaSession string) []SessionStatus {
	s.mu.Lock()
	m, ok := s.media[mediaSession]
	if !ok {
		s.mu.Unlock()
		return nil
	}
	out := append([]SessionStatus(nil), m.past...)
	var running []*session
	for _, p := range []*session{m.publisher, m.pending} {
		if p != nil {
			running = append(running, p)
		}
	}
	for v := range m.viewers {
		running = append(running, v)
	}
	states := make([]SessionStatus, len(running))
	for i, sess := range running {
		states[i] = sess.brief()
	}
	s.mu.Unlock()
	for i, sess := range running {
		states[i].Transport = sess.link.Status()
		states[i].Tracks, states[i].Way = sess.describe(s.clock()), sess.describeWay()
		out = append(out, states[i])
	}
	return out
}

// brief is what a session knows of itself. Caller holds SFU.mu.
func (sess *session) brief() SessionStatus {
	st := SessionStatus{
		Role: "publish", Viewer: sess.viewer, Since: sess.since, ConnectedAt: sess.connectedAt, Offered: sess.offered, Profile: sess.profile,
	}
	if sess.role == play {
		st.Role = "play"
	}
	return st
}

// remember keeps how a session ended. Caller holds SFU.mu.
func (m *media) remember(sess *session, reason string) {
	st := sess.brief()
	st.EndedAt, st.Reason = now(), reason
	if fate := sess.fate.Load(); fate != nil {
		st.Transport = *fate
	}
	if len(m.past) == pastSessions {
		m.past = append(m.past[:0], m.past[1:]...)
	}
	m.past = append(m.past, st)
}

// noteRefused remembers a viewer whose offer nothing could be played to.
func (s *SFU) noteRefused(m *media, sess *session, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess.since = now()
	m.remember(sess, "refused")
	m.past[len(m.past)-1].Detail = strings.TrimPrefix(why.Error(), ErrUnsupported.Error()+": ")
}

// describe tells of the session's tracks.
func (sess *session) describe(now int64) []TrackStatus {
	if sess.role == publish {
		return sess.describeUp(now)
	}
	var out []TrackStatus
	for _, sec := range sess.sections {
		if sec.Rejected && !sec.Data {
			out = append(out, TrackStatus{Kind: sec.Kind, Rejected: true})
		}
	}
	sh := sess.shard.Load()
	for _, t := range sess.tracks {
		st := TrackStatus{
			Kind: t.spec.kind.String(), MimeType: t.spec.mimeType, Fmtp: t.spec.fmtp,
			Loss: t.reported.loss(), Jitter: t.reported.delay(t.spec.clockRate), Waiting: sh == nil,
		}
		if sh != nil {
			sh.look(func() { t.down.describe(&st, now) })
		}
		out = append(out, st)
	}
	return out
}

// describeWay tells of the way to a viewer, nil if it is not watched.
func (sess *session) describeWay() *WayStatus {
	sh := sess.shard.Load()
	if sh == nil || sess.egress.congestion == nil {
		return nil
	}
	var st *WayStatus
	sh.look(func() { st = sess.egress.congestion.describe() })
	return st
}

// look has f done by the shard and waits for it, but not for a shard that waits itself: f must then not have changed
// anything yet, which is why it is called once or never.
func (s *shard) look(f func()) {
	done, gone := make(chan struct{}), atomic.Bool{}
	s.post(func() {
		if gone.CompareAndSwap(false, true) {
			f()
		}
		close(done)
	})
	timer := time.NewTimer(snapshotWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		if !gone.CompareAndSwap(false, true) {
			<-done // it has begun, and does not take long
		}
	}
}

// describe tells of a down track. Runs on the shard.
func (d *downTrack) describe(st *TrackStatus, now int64) {
	st.Packets = uint64(d.packets)
	st.NACKs, st.Retransmitted, st.KeyframeRequests = d.nacks, d.resent, d.pleas.Load()
	st.Waiting = d.layer == nil && d.target != nil || d.packets == 0
	st.Paused = d.target == nil && d.layer == nil && len(*d.track.layers.Load()) > 0
	if l := d.layer; l != nil {
		st.RID = l.rid
	}
	if d.lastArrival > 0 {
		st.SilentFor = time.Duration(now - d.lastArrival)
	}
}

// describeUp tells of the streams of a camera.
func (sess *session) describeUp(now int64) []TrackStatus {
	sess.ingress.mu.Lock()
	defer sess.ingress.mu.Unlock()
	var out []TrackStatus
	seen := [kinds]bool{}
	for _, l := range sess.uplink.layers {
		sp := l.track.spec
		seen[sp.kind] = true
		out = append(out, l.describe(TrackStatus{
			Kind: sp.kind.String(), MimeType: sp.mimeType, Fmtp: sp.fmtp, RID: l.rid, Packets: l.reception.received,
			Loss: l.reported.loss(), Jitter: l.reported.delay(sp.clockRate),
			Waiting: sp.kind == video && !l.keyframe, SilentFor: time.Duration(now - l.packet.Arrival),
			NACKs: l.reception.asked, Retransmitted: l.reception.repaired, KeyframeRequests: l.keys.sent.Load(),
		}))
	}
	for _, sp := range sess.specs { // agreed on, and nothing came yet
		if !seen[sp.kind] {
			out = append(out, TrackStatus{Kind: sp.kind.String(), MimeType: sp.mimeType, Fmtp: sp.fmtp, Waiting: true})
		}
	}
	return out
}

// describe adds what the stream itself says of who can decode it.
func (l *layer) describe(st TrackStatus) TrackStatus {
	if l.track.codec != codec.H264 {
		return st
	}
	is, agreed := l.streamProfile(), agreedProfile(l.track.spec.fmtp)
	st.Profile, st.Level, st.Agreed, st.BFrames = is.Name(), is.LevelName(), agreed.Name(), l.bidirectional.Load()
	st.Beyond = is.IDC != 0 && !is.Within(agreed)
	return st
}

// countCandidates counts an offer's candidates.
func (o *offer) countCandidates() CandidateCounts {
	var c CandidateCounts
	if len(o.sections) == 0 {
		return c
	}
	for _, a := range o.sections[0].media.Attributes {
		f := strings.Fields(a.Value)
		if a.Key != "candidate" || len(f) < 8 {
			continue
		}
		switch {
		case strings.HasSuffix(f[4], ".local"):
			c.Hidden++
		case strings.EqualFold(f[2], "tcp"):
			c.TCP++
		case f[7] == "host":
			c.Host++
		case f[7] == "relay":
			c.Relay++
		default:
			c.Reflexive++
		}
	}
	return c
}
