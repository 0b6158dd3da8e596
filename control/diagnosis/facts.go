package diagnosis

import (
	"time"

	"github.com/securecam/securecam/store"
)

// Facts are what is known of a stream at one moment.
type Facts struct {
	Stream       store.Stream
	CameraOnline bool
	Media        *MediaFacts // nil if this node has no such media session
	Report       *Report     // the viewer's last one, nil if there is none
	ReportedAt   time.Time
	Undecoded    uint64        // packets that it got since its decoder made the last picture
	StuckFor     time.Duration // since then, by the reports
	Freezes      uint64        // that it reported within the last minute or so
	Frozen       time.Duration // by those
	Now          time.Time
}

// MediaFacts are a media session as its node sees it. They are also how
// clients see it.
type MediaFacts struct {
	Publishing       bool      `json:"publishing"`
	LostAt           time.Time `json:"lostAt,omitzero" doc:"When the camera's connection was lost"`
	Keyframes        uint64    `json:"keyframes"`
	KeyframeRequests uint64    `json:"keyframeRequests"`
	Retransmitted    uint64    `json:"retransmitted"`
	LayerSwitches    uint64    `json:"layerSwitches"`
	Layers           []Layer   `json:"layers" nullable:"false"`
	Sessions         []Session `json:"sessions" nullable:"false" doc:"Connections, also how the last one of each viewer ended"`
	Unreachable      string    `json:"unreachable,omitempty" doc:"Why devices elsewhere may not find a way to this server"`
}

// Layer is one encoding that the camera sends.
type Layer struct {
	Track   string  `json:"track" enum:"audio,video"`
	RID     string  `json:"rid,omitempty"`
	Active  bool    `json:"active"`
	Width   int     `json:"width,omitempty"`
	Height  int     `json:"height,omitempty"`
	Bitrate int     `json:"bitrate" doc:"Bit/s"`
	FPS     float64 `json:"framesPerSecond"`
}

// Session is one WHIP or WHEP session.
type Session struct {
	Role        string     `json:"role" enum:"publish,play"`
	StreamID    string     `json:"streamId,omitempty" doc:"Of a viewer"`
	Since       time.Time  `json:"since"`
	ReachedAt   time.Time  `json:"reachedAt,omitzero" doc:"When ICE found a way"`
	ConnectedAt time.Time  `json:"connectedAt,omitzero"`
	EndedAt     time.Time  `json:"endedAt,omitzero"`
	Reason      string     `json:"reason,omitempty" doc:"Why it ended"`
	Unanswered  bool       `json:"unanswered,omitempty" doc:"It is this server's own offer, which the viewer has not taken"`
	Stalled     bool       `json:"stalled,omitempty" doc:"Over TCP: the viewer takes nothing of what is sent"`
	Bitrate     int        `json:"bitrate" doc:"Of all tracks, bit/s"`
	Detail      string     `json:"detail,omitempty" doc:"What was wrong with an offer that was refused"`
	Failure     string     `json:"failure,omitempty" enum:"no_path,handshake,fingerprint" doc:"Why it did not connect"`
	Offered     Candidates `json:"offered"`
	Pairs       []Pair     `json:"pairs" nullable:"false" doc:"Candidate pairs that were tried"`
	RTTMillis   float64    `json:"rttMs,omitempty"`
	SRTP        string     `json:"srtp,omitempty"`
	Tracks      []Track    `json:"tracks" nullable:"false"`
	Way         *Way       `json:"way,omitempty" doc:"What congestion control makes of a viewer's way, where the camera sends layers"`
}

// Way is what is known of the way to a viewer. Rates are in bit/s.
type Way struct {
	Estimate  int     `json:"estimate" doc:"What the way is believed to carry"`
	Budget    int     `json:"budget" doc:"What may be sent; it moves less than the estimate"`
	Target    int     `json:"target" doc:"What is chosen within that"`
	Layer     string  `json:"layer,omitempty" doc:"The layer that goes out"`
	Paused    bool    `json:"paused" doc:"No video: the way does not even carry the least layer"`
	Probing   bool    `json:"probing" doc:"More is sent than the media, to find out what the way carries"`
	Loss      float64 `json:"loss" doc:"Share lost lately, 0 to 1, before repairs"`
	RTTMillis float64 `json:"rttMs"`
	Feedbacks uint64  `json:"feedbacks" doc:"That the viewer sent"`
	Overuses  uint64  `json:"overuses" doc:"Times that a queue began to grow"`
	Silences  uint64  `json:"silences" doc:"Times that the estimate fell because nothing was heard"`
	Probes    uint64  `json:"probes"`
	Passed    uint64  `json:"probesPassed"`
	Padding   uint64  `json:"paddingBytes" doc:"Sent beside the media"`
}

// Candidates are how many of each kind an offer had.
type Candidates struct {
	Host      int `json:"host"`
	Reflexive int `json:"reflexive"`
	Relay     int `json:"relay"`
	TCP       int `json:"tcp"`
	Hidden    int `json:"hidden" doc:"With a name of mDNS instead of an address"`
}

// Pair is a pair of ICE candidates.
type Pair struct {
	Local    string `json:"local"`
	Remote   string `json:"remote"`
	Protocol string `json:"protocol"`
	Address  string `json:"address" doc:"Of the peer"`
	State    string `json:"state"`
	Selected bool   `json:"selected"`
}

// Track is one track of a session.
type Track struct {
	Kind         string  `json:"kind"`
	MimeType     string  `json:"mimeType,omitempty"`
	Fmtp         string  `json:"fmtp,omitempty"`
	Rejected     bool    `json:"rejected,omitempty" doc:"The camera sends no such track"`
	RID          string  `json:"rid,omitempty"`
	Packets      uint64  `json:"packets"`
	Bytes        uint64  `json:"bytes" doc:"Of payload, without what was sent again"`
	Bitrate      int     `json:"bitrate" doc:"Of late, bit/s"`
	Loss         float64 `json:"loss" doc:"Share lost lately, 0 to 1"`
	JitterMillis float64 `json:"jitterMs"`
	Paused       bool    `json:"paused,omitempty" doc:"Nothing fits the viewer's link or wish"`
	Waiting      bool    `json:"waitingForKeyframe,omitempty"`
	SilentMillis float64 `json:"silentMs,omitempty"`

	Profile string `json:"profile,omitempty" doc:"Of H.264, as the camera's stream says"`
	Level   string `json:"level,omitempty" doc:"Of H.264, as the camera's stream says"`
	Agreed  string `json:"agreedProfile,omitempty" doc:"Of H.264, as the camera's offer said"`
	Beyond  bool   `json:"beyondAgreed,omitempty" doc:"What the camera sends takes more of a decoder than what it offered"`
	BFrames bool   `json:"bFrames,omitempty" doc:"Pictures refer to later ones, which players over WebRTC do not expect"`

	NACKs            uint64 `json:"nacks" doc:"Packets that the receiver asked for again"`
	Retransmitted    uint64 `json:"retransmitted" doc:"Of those, sent again"`
	KeyframeRequests uint64 `json:"keyframeRequests" doc:"PLI and FIR"`
	LayerSwitches    uint64 `json:"layerSwitches" doc:"Times that a viewer was given another layer"`
}

// of returns the sessions of one role, running or over; a viewer's of one stream.
func (m *MediaFacts) of(role, streamID string) (running, over []Session) {
	for _, s := range m.Sessions {
		switch {
		case s.Role != role || s.StreamID != streamID:
		case s.EndedAt.IsZero():
			running = append(running, s)
		default:
			over = append(over, s)
		}
	}
	return running, over
}

// reasonRefused and reasonCodec are the reasons of sessions whose offer was
// refused; the latter that there is no common format.
const (
	reasonRefused = "refused"
	reasonCodec   = "codec_mismatch"
)

// last returns the session that ended last.
func last(over []Session) (Session, bool) {
	var newest Session
	for _, s := range over {
		if !s.EndedAt.Before(newest.EndedAt) {
			newest = s
		}
	}
	return newest, len(over) > 0
}
