package store

import "time"

// StreamStatus is the state of a stream session.
type StreamStatus string

// The stream states: requested -> streaming -> completed, cancelled or failed.
const (
	StreamRequested StreamStatus = "requested"
	StreamStreaming StreamStatus = "streaming"
	StreamCompleted StreamStatus = "completed"
	StreamCancelled StreamStatus = "cancelled"
	StreamFailed    StreamStatus = "failed"
)

// Stream is a stream session: one client watching one camera, from request to
// end.
type Stream struct {
	ID                string
	OwnerUserID       string
	CameraDeviceID    string
	RequesterDeviceID string
	Status            StreamStatus
	Reason            string
	MediaProvider     string
	MediaSessionID    string // empty until streaming
	StreamKey         string
	CreatedAt         time.Time
	UpdatedAt         time.Time
	StartedAt         time.Time
	EndedAt           time.Time
}
