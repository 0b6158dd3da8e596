package sfu

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/bandwidth"
	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/feedback"
	"github.com/securecam/securecam/sfu/transport"
)

const (
	// pastSessions is of how many viewers a media session remembers how their last session ended.
	pastSessions = 64
	// maxDetail bounds what is kept of why an offer was refused, in bytes: the peer may have a say in it.
	maxDetail = 200
)

// Why a session ended that never was one.
const (
	// ReasonRefused: its offer could not be served.
	ReasonRefused = "refused"
	// ReasonCodec: nor would another one of the same peer, since the two sides have no common format.
	ReasonCodec = "codec_mismatch"
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
	Unanswered  bool      // it is an offer of ours, which the viewer has not taken
	Stuck       bool      // its shard waits, and cannot tell: over TCP, that the viewer takes nothing
	Bitrate     int       // of all tracks, bit/s
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
	Packets              uint64 // sent to a viewer, or received from a camera
	Bytes                uint64 // of payload
	Bitrate              int    // of late, bit/s
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
	Switches         uint64 // times that a viewer was given another layer
}

// reported is the last that a receiver said of a stream.
type reported struct {
	fraction, jitter atomic.Uint32
	times, surveyed  atomic.Uint32 // that it said so; of those, before the last survey
}

func (r *reported) store(b feedback.Block) {
	r.fraction.Store(uint32(b.FractionLost))
	r.jitter.Store(b.Jitter)
	r.times.Add(1)
}

// fresh reports whether something was said since it was called last.
func (r *reported) fresh() bool {
	said := r.times.Load()
	return r.surveyed.Swap(said) != said
}

func (r *reported) loss() float64 { return float64(r.fraction.Load()) / 256 }

func (r *reported) delay(clockRate uint32) time.Duration {
	return time.Duration(r.jitter.Load()) * time.Second / time.Duration(max(clockRate, 1))
}

// Sessions returns the sessions of a media session's cameras and of one viewer, or all viewers for "", and how the last
// one of each ended, in no order. It waits for ICE agents and shards, for all shards together not longer than half a
// second: of a viewer whose shard was busy for longer nothing is known of what it was sent.
func (s *SFU) Sessions(mediaSession, viewer string) []SessionStatus {
	s.mu.Lock()
	m, ok := s.media[mediaSession]
	if !ok {
		s.mu.Unlock()
		return nil
	}
	wanted := func(of string) bool { return viewer == "" || of == "" || of == viewer }
	var running []*session
	for _, p := range []*session{m.publisher, m.pending} {
		if p != nil {
			running = append(running, p)
		}
	}
	for v := range m.viewers {
		if wanted(v.viewer) {
			running = append(running, v)
		}
	}
	out := make([]SessionStatus, len(running), len(running)+len(m.past))
	for i, sess := range running {
		out[i] = sess.brief()
	}
	for _, st := range m.past {
		if wanted(st.Viewer) {
			out = append(out, st)
		}
	}
	s.mu.Unlock()
	s.describe(running, out)
	return out
}

// describe tells of sessions in those of out that begin it.
func (s *SFU) describe(running []*session, out []SessionStatus) {
	now := s.clock()
	var looks []*look
	for i, sess := range running {
		out[i].Transport = sess.link.Status()
		if sess.role == publish {
			out[i].Tracks = sess.describeUp(now)
			continue
		}
		out[i].Tracks = sess.describeDown()
		if l := sess.look(&out[i], now); l != nil {
			looks = append(looks, l)
		}
	}
	await(looks, snapshotWait)
	for i, sess := range running {
		out[i].Stuck = sess.looked.Load().stuck()
		for k := range out[i].Tracks {
			out[i].Bitrate += out[i].Tracks[k].Bitrate
		}
	}
}

// brief is what a session knows of itself. Caller holds SFU.mu.
func (sess *session) brief() SessionStatus {
	st := SessionStatus{
		Role: "publish", Viewer: sess.viewer, Since: sess.since, ConnectedAt: sess.connectedAt, Offered: sess.offered, Profile: sess.profile,
	}
	if sess.role == play {
		st.Role, st.Unanswered = "play", sess.unanswered()
	}
	return st
}

// remember keeps how a session ended. Of an offer of ours that nobody took there is nothing to say: that of the viewer,
// which it follows, was refused. Caller holds SFU.mu.
func (m *media) remember(sess *session, reason string) {
	if sess.unanswered() {
		return
	}
	st := sess.brief()
	st.EndedAt, st.Reason = now(), reason
	if fate := sess.fate.Load(); fate != nil {
		st.Transport = *fate
	}
	m.keep(st)
}

// keep remembers the last session of each viewer, and of cameras, that ended: others who come and go are no reason to
// forget why somebody sees nothing. Caller holds SFU.mu.
func (m *media) keep(st SessionStatus) {
	m.past = slices.DeleteFunc(m.past, func(o SessionStatus) bool { return o.Role == st.Role && o.Viewer == st.Viewer })
	if len(m.past) == pastSessions {
		m.past = slices.Delete(m.past, 0, 1)
	}
	m.past = append(m.past, st)
}

// noteRefused remembers a peer whose offer was refused. That of a camera may be the first that is heard of its media
// session.
func (s *SFU) noteRefused(mediaSession string, st SessionStatus, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.media[mediaSession]
	if !ok && st.Role == "publish" {
		m, _ = s.openMedia(mediaSession) // nil if there may be no more
	}
	if m == nil {
		return
	}
	st.Since, st.EndedAt, st.Reason = now(), now(), ReasonRefused
	if errors.Is(why, errCodec) {
		st.Reason = ReasonCodec
	}
	detail := why.Error()
	for _, kind := range []error{ErrUnsupported, ErrBadOffer} {
		detail = strings.TrimPrefix(detail, kind.Error()+": ")
	}
	st.Detail = strings.ToValidUTF8(detail[:min(len(detail), maxDetail)], "")
	m.keep(st)
}

// describeDown tells of a viewer's tracks what its shard need not be asked.
func (sess *session) describeDown() []TrackStatus {
	out := make([]TrackStatus, 0, len(sess.sections))
	for _, t := range sess.tracks {
		out = append(out, TrackStatus{
			Kind: t.spec.kind.String(), MimeType: t.spec.mimeType, Fmtp: t.spec.fmtp,
			Loss: t.reported.loss(), Jitter: t.reported.delay(t.spec.clockRate), Waiting: sess.shard.Load() == nil,
		})
	}
	for _, sec := range sess.sections {
		if sec.Rejected && !sec.Data {
			out = append(out, TrackStatus{Kind: sec.Kind, Rejected: true})
		}
	}
	return out
}

// look has the shard add to st, whose tracks begin with those that go out, what it alone knows. It returns nil if there
// is no shard yet, or one that has not even come to what it was asked before.
func (sess *session) look(st *SessionStatus, now int64) *look {
	sh := sess.shard.Load()
	if sh == nil || sess.looked.Load().stuck() {
		return nil
	}
	l := sh.look(func() {
		for i, t := range sess.tracks {
			t.down.describe(&st.Tracks[i], now)
		}
		if c := sess.egress.congestion.Load(); c != nil {
			st.Way = c.describe()
		}
	})
	sess.looked.Store(l)
	return l
}

// describe tells of a down track. Runs on the shard.
func (d *downTrack) describe(st *TrackStatus, now int64) {
	st.Packets, st.Bytes, st.Bitrate, st.Switches = uint64(d.packets), d.octets, d.flow.bitrate, d.switches
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
		bitrate := 0
		if f := l.facts.Load(); f != nil && !l.silent.Load() {
			bitrate = f.rate(f.highest.spatial, f.highest.temporal)
		}
		out = append(out, l.describe(TrackStatus{
			Bytes: l.meter.total, Bitrate: bitrate,
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
