package store

import (
	"encoding/json"
	"time"
)

// CommandStatus is how far a command has come.
type CommandStatus string

// The command states. A command ends acknowledged, rejected or failed.
const (
	CommandQueued       CommandStatus = "queued"
	CommandSent         CommandStatus = "sent"
	CommandAcknowledged CommandStatus = "acknowledged"
	CommandRejected     CommandStatus = "rejected"
	CommandFailed       CommandStatus = "failed"
)

// Command is an instruction from a client device to a camera device.
type Command struct {
	ID             string
	OwnerUserID    string
	SourceDeviceID string
	TargetDeviceID string
	CommandType    string
	Payload        json.RawMessage
	Status         CommandStatus
	RetryCount     int
	Result         json.RawMessage
	Error          string
	SentAt         time.Time
	AckAt          time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time
}
