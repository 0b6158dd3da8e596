package store

import "time"

// LinkStatus says whether a link may be used.
type LinkStatus string

// The link states.
const (
	LinkActive  LinkStatus = "active"
	LinkRevoked LinkStatus = "revoked"
)

// Link lets one camera and one client of the same owner talk.
type Link struct {
	ID             string
	OwnerUserID    string
	CameraDeviceID string
	ClientDeviceID string
	Status         LinkStatus
	CreatedAt      time.Time
	UpdatedAt      time.Time
}
