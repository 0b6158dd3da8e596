package store

import "time"

// MediaSession is one camera publishing into the SFU. A camera has at most
// one that is not ended, however many stream sessions watch it.
type MediaSession struct {
	ID             string
	OwnerUserID    string
	CameraDeviceID string
	Continuous     bool // outlives the last stream session that watches it
	EndReason      string
	CreatedAt      time.Time
	EndedAt        time.Time // zero while open
}
