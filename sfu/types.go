package sfu

import (
	"time"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/sfu/bandwidth"
)

// Answer is the result of an accepted offer.
type Answer struct {
	// SessionID names the WHIP or WHEP session; it cannot be guessed.
	SessionID string
	// SDP is the answer with every server candidate.
	SDP []byte
	// ETag is a quoted strong entity tag of the ICE session.
	ETag string
}

// Sink is the last step of a packet. *webrtc.TrackLocalStaticRTP's writer and the recorder's track writer are Sinks.
// WriteRTP is called by one goroutine at a time and keeps neither header nor payload after it returns.
type Sink interface {
	WriteRTP(h *rtp.Header, payload []byte) (int, error)
}

// SenderReportSink is a Sink that also wants the mapping from RTP to NTP time, for lip sync. Both times are those
// of the packets the Sink got: continuous across a takeover.
type SenderReportSink interface {
	WriteSenderReport(ntp uint64, rtp uint32)
}

// Tap receives a copy of every up track of a media session. Track is called for every track there is and every one
// that comes later, always by the same goroutine that writes to the Sinks; a nil Sink ignores the track. After a
// takeover with the same codecs the same Sinks go on.
type Tap interface {
	Track(t TrackInfo) Sink
}

// DetachedTap is a Tap that wants to know when the SFU let go of it: the media session ended, or a new publisher
// sends other codecs ("codec_changed"). It is not called after the tap's own detach.
type DetachedTap interface {
	Detached(reason string)
}

// TrackInfo describes an up track.
type TrackInfo struct {
	ID        string // unique in the media session
	Kind      string // "audio" or "video"
	MimeType  string // "video/VP8", "audio/opus", ...
	ClockRate uint32
	Channels  uint16
	Fmtp      string
	// RequestKeyframe asks the camera for a keyframe; requests are coalesced. It never blocks.
	RequestKeyframe func()
}

// Observer hears of what begins and ends. It is called from one goroutine of the SFU, in order, never under a lock;
// while it blocks, later events wait.
type Observer interface {
	// PublisherUp says that a camera is connected. A takeover is a PublisherDown followed by a PublisherUp.
	PublisherUp(mediaSession string)
	PublisherDown(mediaSession, reason string)
	ViewerUp(mediaSession, viewer string)
	ViewerDown(mediaSession, viewer, reason string)
	// Ended says that a media session is gone; nothing more is heard of it.
	Ended(mediaSession, reason string)
}

// Status is a media session at one moment.
type Status struct {
	Publishing bool
	// Since is when the publisher connected. LostAt is when the last publisher was lost, or when the media session
	// was opened if there never was one; zero while Publishing.
	Since, LostAt time.Time
	// Viewers counts the WHEP sessions of each stream session.
	Viewers map[string]int
	// Talkback says that the camera hears viewers; Talker is the one who talks, by its stream session.
	Talkback bool
	Talker   string
	Tracks   []TrackInfo
	Layers   []LayerInfo // of what the publisher sends, the least first
	Counters
}

// LayerInfo describes a layer of an up track, measured over the last second.
type LayerInfo struct {
	Track         string // TrackInfo.ID
	RID           string // "" where there is but one layer
	Active        bool   // packets come
	Width, Height int    // 0 if not known
	Bitrate       int    // bit/s, with headers
	FPS           float64
	// SpatialLayers and TemporalLayers are how many the stream holds, at least 1.
	SpatialLayers, TemporalLayers int
}

// Counters count since the media session was opened.
type Counters struct {
	PacketsIn, BytesIn   uint64 // from the camera, payload bytes
	PacketsOut, BytesOut uint64 // to viewers and taps
	Keyframes            uint64 // received
	KeyframeRequests     uint64 // PLIs sent to the camera
	CachedStarts         uint64 // viewers that began, or began again, with a keyframe that was there
	Stills               uint64 // viewers that saw an older keyframe by itself until there was another
	Replayed             uint64 // packets they were sent to catch up
	ViewerPLIs           uint64 // requests for a keyframe, by PLI or FIR
	NACKs                uint64 // packets viewers asked for again
	NACKsUnsent          uint64 // of those, that they were never sent, or too long ago to tell
	Retransmitted        uint64 // packets answered to NACKs
	Dropped              uint64 // packets not offered to a full shard, or that came too late to one
	Skips                uint64 // of viewers and taps whose shard was too late, to the next keyframe
	WriteErrors          uint64 // packets a Sink refused
	Switches             uint64 // of viewers and taps from one layer to another
	TalkPackets          uint64 // of viewers' audio, passed on to the camera
	TalkRefused          uint64 // of those who talked while another one did, or too fast
}

// Stats is the node at one moment.
type Stats struct {
	MediaSessions, Publishers, Viewers, Taps int
	Counters                                 // of all media sessions that ever were
	Socket                                   SocketStats
	// Unbound counts RTP packets that belong to no stream: streams that are too many, or were not negotiated.
	Unbound uint64
	// Malformed counts RTP and RTCP packets that were passed over because their contents are not what their header or
	// their type says.
	Malformed uint64
	// Duplicates, Late and Oversized count RTP packets that were there already, that came when their place was gone or
	// without being asked for again, and that are longer than what can be passed on.
	Duplicates, Late, Oversized uint64
	// Flooded counts RTCP packets that were not looked at because their peers sent too many.
	Flooded uint64
	// SlowestShard is the longest that a packet waited for its shard in the last second. An overloaded machine shows here
	// first; what would come too late is left out.
	SlowestShard time.Duration
	Data         DataStats
	// Congestion is about the ways to viewers of cameras with several layers.
	Congestion CongestionStats
	Quality
	// Unreachable says that nothing is offered that devices elsewhere could reach.
	Unreachable bool `help:"1 while devices in other networks find no way to the media port, as far as this server knows."`
}

// CongestionStats sum up what congestion control did, for all viewers that ever were.
type CongestionStats struct {
	Watched int // viewers whose way is watched now
	Paused  int // of those, that get no video because not even the least gets through
	bandwidth.Stats
	Padding   uint64 // bytes sent beside media, to probe
	Discarded uint64 // feedback that came faster than it was looked at
}

// DataStats count messages of data channels.
type DataStats struct {
	Received, Sent uint64
	Refused        uint64 // came too fast, were too long or malformed, or on too many channels
	Dropped        uint64 // their receiver did not take them in time
	Unheard        uint64 // their receiver has no channel
}

// SocketStats are the counters of the media port.
type SocketStats struct {
	Received, Sent       uint64 // datagrams
	ReadCalls, SendCalls uint64 // system calls
	Refused              uint64 // datagrams that the system did not take
	Rejected             uint64 // RTP and RTCP of known addresses that was not authentic, or was replayed
	Strangers            uint64 // datagrams of no session: of unknown addresses, and checks that name nobody
	Forged               uint64 // connectivity checks without the password of the session that they name
	Early                uint64 // RTP and RTCP of sessions that have no keys yet
	Overflowed           uint64 // datagrams for ICE and DTLS that came faster than they could be handled
	Faults               uint64 // reads that failed
	TCPOpen              int    // TCP connections now
	TCPAccepted          uint64 // TCP connections there ever were
	TCPRefused           uint64 // of those: too many, or of no session
	TCPDropped           uint64 // packets that a peer on TCP did not take in time
	Offload              bool   // the kernel splits messages into datagrams
}
