package store

import "time"

// RecordingStatus is the state of a recording.
type RecordingStatus string

// The recording states. The server's own recordings go recording -> ready or
// failed, a camera's uploads awaiting_upload -> ready or failed.
const (
	RecordingRunning        RecordingStatus = "recording"
	RecordingAwaitingUpload RecordingStatus = "awaiting_upload"
	RecordingReady          RecordingStatus = "ready"
	RecordingFailed         RecordingStatus = "failed"
)

// Recording is media recorded from a media session by the server, or
// uploaded by a camera.
type Recording struct {
	ID                string
	OwnerUserID       string
	CameraDeviceID    string
	RequesterDeviceID string // empty when nobody watched
	StreamID          string // the stream session that started it, empty when none
	MediaSessionID    string
	NodeID            string // the node whose spool holds it while it runs
	Status            RecordingStatus
	ObjectKey         string
	Bucket            string
	ContentType       string
	Duration          time.Duration
	Size              int64 // bytes
	Error             string
	StartedAt         time.Time
	EndedAt           time.Time
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// RecordingFilter narrows a list of recordings; empty fields do not.
type RecordingFilter struct {
	CameraDeviceID string
	DeviceID       string // on either side
	StreamID       string
	Status         RecordingStatus
}
