// Package report holds the result of a load test and shows it: as a table, as
// JSON, against another one, and as a page to share.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/securecam/securecam/bench/measure"
)

// Result is one load test.
type Result struct {
	Date      time.Time           `json:"date"`
	Name      string              `json:"name,omitempty"`
	Command   []string            `json:"command"`
	Machine   measure.Machine     `json:"machine"`
	Load      Load                `json:"load"`
	Setup     Setup               `json:"setup"`
	Delivery  Delivery            `json:"delivery"`
	Latency   Latency             `json:"latency"`
	Server    *Server             `json:"server,omitempty"`
	Generator Generator           `json:"generator"`
	Floor     []measure.FloorStep `json:"floor,omitempty"`
	FloorRead []measure.FloorStep `json:"floorRead,omitempty"` // where the receivers read
	Direct    *Direct             `json:"direct,omitempty"`
	Seconds   []Second            `json:"seconds"`
	Search    *Search             `json:"search,omitempty"`
}

// Load is what was asked of the server.
type Load struct {
	Cameras   int     `json:"cameras"`
	Viewers   int     `json:"viewers"`
	Video     string  `json:"video"`
	Audio     bool    `json:"audio"`
	Bitrate   int     `json:"bitrate"` // of one camera's video, bits a second
	FPS       float64 `json:"fps"`
	Even      bool    `json:"even"`
	Pace      string  `json:"pace"`
	Joined    bool    `json:"joined,omitempty"` // bursts in one message each
	Layers    int     `json:"layers"`
	MaxHeight int     `json:"maxHeight,omitempty"` // that viewers ask for
	Seconds   float64 `json:"seconds"`
	RTCPRate  float64 `json:"rtcpPerSecond"` // of each viewer
	NACK      bool    `json:"nack"`
	// Congestion says that viewers tell of the way in transport-wide feedback.
	Congestion bool   `json:"congestion,omitempty"`
	Profile    string `json:"srtp"`
	Quiet      bool   `json:"quietSetup"`
}

// Setup is how the viewers came in.
type Setup struct {
	Connected        int     `json:"connected"`
	Failed           int     `json:"failed"`
	FirstError       string  `json:"firstError,omitempty"`
	PerSecond        float64 `json:"perSecond"`
	ConnectP50       float64 `json:"connectP50ms"`
	ConnectP99       float64 `json:"connectP99ms"`
	FirstPacketP50   float64 `json:"firstPacketP50ms"`
	FirstPacketP99   float64 `json:"firstPacketP99ms"`
	ServerMillis     float64 `json:"serverCPUms,omitempty"` // for each set-up
	NeverAnyPacket   int     `json:"neverAnyPacket"`
	EndedByTheServer int     `json:"endedByTheServer"`
}

// Delivery is what arrived between the marks.
type Delivery struct {
	Published        uint64  `json:"published"` // by all cameras
	Expected         uint64  `json:"expected"`  // by all viewers
	Delivered        uint64  `json:"delivered"`
	Ratio            float64 `json:"ratio"`
	WorstViewer      float64 `json:"worstViewer"`
	BySequence       bool    `json:"bySequence"` // the server packetizes anew, or the media has no stamps
	PacketsPerSecond float64 `json:"packetsPerSecond"`
	Bytes            uint64  `json:"bytes"`
	Opened           uint64  `json:"opened"`
	Forged           uint64  `json:"forged"`
	Corrupt          uint64  `json:"corrupt"`
	Foreign          uint64  `json:"foreign"`
	Unstamped        uint64  `json:"unstamped"`
	Duplicates       uint64  `json:"duplicates"`
	Reordered        uint64  `json:"reordered"`
	Retransmitted    uint64  `json:"retransmitted"`
	Feedbacks        uint64  `json:"feedbacks"` // on the way, that viewers sent
	KeyframesAsked   uint64  `json:"keyframesAsked"`
	CameraRepairs    uint64  `json:"cameraRepairs"`
}

// Latency is from a camera's send to the arrival at a viewer, milliseconds.
type Latency struct {
	Samples uint64          `json:"samples"`
	P50     float64         `json:"p50ms"`
	P99     float64         `json:"p99ms"`
	P999    float64         `json:"p999ms"`
	Max     float64         `json:"maxms"`
	Curve   []measure.Point `json:"curve,omitempty"`
}

// Direct is the latency of the same load without a server, and how evenly the machine works.
type Direct struct {
	Latency
	WorkP50 float64 `json:"workP50ms"` // of equal pieces of work
	WorkP99 float64 `json:"workP99ms"`
}

// Server is what the server's process used between the marks.
type Server struct {
	PID         int     `json:"pid"`
	Micros      float64 `json:"us"`     // CPU for each delivered packet
	UserMicros  float64 `json:"userUs"` // of that
	SysMicros   float64 `json:"sysUs"`  // of that
	IngestUs    float64 `json:"usPerPublished"`
	Cores       float64 `json:"cores"`
	Waiting     float64 `json:"waiting"`   // threads that were ready, but had no processor
	RSSBefore   int64   `json:"rssBefore"` // bytes, without viewers
	RSSAfter    int64   `json:"rssAfter"`
	KiBViewer   float64 `json:"kibPerViewer"`
	Voluntary   float64 `json:"voluntaryPerSecond"` // context switches
	Involuntary float64 `json:"involuntaryPerSecond"`
	Threads     int     `json:"threads"`
	FloorRatio  float64 `json:"floorRatio,omitempty"` // Micros against the floor of as long bursts
	FloorBurst  int     `json:"floorBurst,omitempty"` // how long
}

// Generator is what the load test itself used: when it is the bottleneck,
// the figures are not the server's.
type Generator struct {
	Cores   float64 `json:"cores"`
	Dropped uint64  `json:"dropped"` // datagrams that it did not read in time
	Errors  uint64  `json:"errors"`
	Reports uint64  `json:"reports"` // RTCP packets that the viewers sent
}

// Second is one second of the measurement.
type Second struct {
	At          float64 `json:"t"`
	Packets     float64 `json:"packetsPerSecond"`
	P50         float64 `json:"p50ms"`
	P99         float64 `json:"p99ms"`
	ServerCores float64 `json:"serverCores"`
}

// Search is how the greatest number of viewers was found.
type Search struct {
	Held  int    `json:"held"`
	Limit string `json:"limit"` // what ended it
	Steps []Step `json:"steps"`
}

// Step is one number of viewers tried.
type Step struct {
	Viewers     int     `json:"viewers"`
	Ratio       float64 `json:"ratio"`
	P99         float64 `json:"p99ms"`
	ServerCores float64 `json:"serverCores"`
	Waiting     float64 `json:"waiting"`
	Micros      float64 `json:"us"`
	Held        bool    `json:"held"`
}

// Read reads a result that Write wrote.
func Read(path string) (Result, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Result{}, err
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return Result{}, fmt.Errorf("report: %s: %w", path, err)
	}
	return r, nil
}

// Write writes r as JSON.
func (r Result) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
