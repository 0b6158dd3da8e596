package admin

import (
	"encoding/json"
	"time"

	"github.com/securecam/securecam/store"
)

// Overview counts what there is.
type Overview struct {
	Version       string    `json:"version"`
	StartedAt     time.Time `json:"startedAt" doc:"Of this process"`
	Users         int       `json:"users"`
	Devices       int       `json:"devices"`
	Online        int       `json:"online" doc:"Devices"`
	MediaSessions int       `json:"mediaSessions" doc:"Cameras publishing"`
	Streams       int       `json:"streams" doc:"Clients watching or asking to"`
	Recordings    int       `json:"recordings"`
	RecordedBytes int64     `json:"recordedBytes"`
}

// User is a user as the administrator sees one.
type User struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Email      string    `json:"email"`
	Verified   bool      `json:"emailVerified"`
	Devices    int       `json:"devices"`
	Sessions   int       `json:"sessions"`
	CreatedAt  time.Time `json:"createdAt"`
	LastSeenAt time.Time `json:"lastSeenAt,omitzero"`
	DisabledAt time.Time `json:"disabledAt,omitzero" doc:"Set while the user is shut out"`
}

func toUser(u store.UserSummary) User {
	return User{
		ID: u.ID, Name: u.Name, Email: u.Email, Verified: u.EmailVerified, Devices: u.Devices, Sessions: u.Sessions,
		CreatedAt: u.CreatedAt, LastSeenAt: u.LastSeenAt, DisabledAt: u.DisabledAt,
	}
}

// Device is a device as the administrator sees one.
type Device struct {
	ID         string    `json:"id"`
	UserID     string    `json:"userId"`
	Name       string    `json:"name"`
	Role       string    `json:"role" enum:"camera,client"`
	Status     string    `json:"status" enum:"online,offline"`
	Platform   string    `json:"platform,omitempty"`
	AppVersion string    `json:"appVersion,omitempty"`
	LastSeenAt time.Time `json:"lastSeenAt,omitzero"`
	CreatedAt  time.Time `json:"createdAt"`
}

func (s *Service) toDevice(d store.Device) Device {
	status := d.Status
	if s.cfg.Now().Sub(d.LastSeenAt) > s.cfg.OnlineStale {
		status = store.DeviceOffline
	}
	return Device{
		ID: d.ID, UserID: d.UserID, Name: d.Name, Role: string(d.Role), Status: string(status), Platform: d.Platform,
		AppVersion: d.AppVersion, LastSeenAt: d.LastSeenAt, CreatedAt: d.CreatedAt,
	}
}

// AuditEntry is an entry of anybody's audit log.
type AuditEntry struct {
	ID            string          `json:"id"`
	UserID        string          `json:"userId" doc:"Whose thing it was"`
	Action        string          `json:"action"`
	TargetID      string          `json:"targetId"`
	ActorUserID   string          `json:"actorUserId,omitempty"`
	ActorDeviceID string          `json:"actorDeviceId,omitempty"`
	IPAddress     string          `json:"ipAddress,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	CreatedAt     time.Time       `json:"createdAt"`
}

func toAuditEntry(e store.AuditEntry) AuditEntry {
	return AuditEntry{
		ID: e.ID, UserID: e.OwnerUserID, Action: e.Action, TargetID: e.TargetID, ActorUserID: e.ActorUserID,
		ActorDeviceID: e.ActorDeviceID, IPAddress: e.IPAddress, Metadata: e.Metadata, CreatedAt: e.CreatedAt,
	}
}

// Live is what goes on.
type Live struct {
	MediaSessions []MediaSession `json:"mediaSessions" nullable:"false"`
	Streams       []Stream       `json:"streams" nullable:"false"`
}

// MediaSession is a camera that publishes.
type MediaSession struct {
	ID             string    `json:"id"`
	UserID         string    `json:"userId"`
	CameraDeviceID string    `json:"cameraDeviceId"`
	NodeID         string    `json:"nodeId"`
	Continuous     bool      `json:"continuous"`
	CreatedAt      time.Time `json:"createdAt"`
}

// Stream is a client that watches, or has asked to.
type Stream struct {
	ID                string    `json:"id"`
	UserID            string    `json:"userId"`
	CameraDeviceID    string    `json:"cameraDeviceId"`
	RequesterDeviceID string    `json:"requesterDeviceId"`
	Status            string    `json:"status" enum:"requested,streaming"`
	MediaSessionID    string    `json:"mediaSessionId,omitempty"`
	CreatedAt         time.Time `json:"createdAt"`
}

func toLive(sessions []store.MediaSession, streams []store.Stream) Live {
	live := Live{MediaSessions: make([]MediaSession, len(sessions)), Streams: make([]Stream, len(streams))}
	for i, m := range sessions {
		live.MediaSessions[i] = MediaSession{
			ID: m.ID, UserID: m.OwnerUserID, CameraDeviceID: m.CameraDeviceID, NodeID: m.NodeID, Continuous: m.Continuous,
			CreatedAt: m.CreatedAt,
		}
	}
	for i, st := range streams {
		live.Streams[i] = Stream{
			ID: st.ID, UserID: st.OwnerUserID, CameraDeviceID: st.CameraDeviceID, RequesterDeviceID: st.RequesterDeviceID,
			Status: string(st.Status), MediaSessionID: st.MediaSessionID, CreatedAt: st.CreatedAt,
		}
	}
	return live
}

// Link is a link to hand to a user.
type Link struct {
	URL       string    `json:"url" format:"uri"`
	ExpiresAt time.Time `json:"expiresAt"`
}
