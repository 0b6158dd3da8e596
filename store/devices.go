package store

import "time"

// DeviceRole says which side of a stream a device is on.
type DeviceRole string

// The two roles.
const (
	RoleCamera DeviceRole = "camera"
	RoleClient DeviceRole = "client"
)

// DeviceStatus is a device's presence as last reported.
type DeviceStatus string

// The presence states.
const (
	DeviceOnline  DeviceStatus = "online"
	DeviceOffline DeviceStatus = "offline"
)

// RecordingPolicy says when the server records a camera.
type RecordingPolicy string

// The recording policies: never, while clients watch, or whenever it publishes.
const (
	RecordOff        RecordingPolicy = "off"
	RecordSession    RecordingPolicy = "session"
	RecordContinuous RecordingPolicy = "continuous"
)

// Device is a camera or a client that belongs to a user.
type Device struct {
	ID              string
	UserID          string
	Name            string
	Role            DeviceRole
	Status          DeviceStatus
	Platform        string
	AppVersion      string
	PushToken       string
	RecordingPolicy RecordingPolicy
	TokenKeyID      string // tokens with another key id are revoked
	LastSeenAt      time.Time
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// DeviceChange names the fields of a device to change; nil keeps a field.
type DeviceChange struct {
	Name            *string
	Role            *DeviceRole
	Platform        *string
	AppVersion      *string
	PushToken       *string
	RecordingPolicy *RecordingPolicy
}
