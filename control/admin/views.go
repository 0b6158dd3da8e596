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
	UserEmail  string    `json:"userEmail"`
	Name       string    `json:"name"`
	Role       string    `json:"role" enum:"camera,client"`
	Status     string    `json:"status" enum:"online,offline"`
	Platform   string    `json:"platform,omitempty"`
	AppVersion string    `json:"appVersion,omitempty"`
	LastSeenAt time.Time `json:"lastSeenAt,omitzero"`
	CreatedAt  time.Time `json:"createdAt"`
}

func (s *Service) toDevice(d store.DeviceSummary) Device {
	status := d.Status
	if s.cfg.Now().Sub(d.LastSeenAt) > s.cfg.OnlineStale {
		status = store.DeviceOffline
	}
	return Device{
		ID: d.ID, UserID: d.UserID, UserEmail: d.UserEmail, Name: d.Name, Role: string(d.Role), Status: string(status), Platform: d.Platform,
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
	UserEmail      string    `json:"userEmail"`
	CameraDeviceID string    `json:"cameraDeviceId"`
	CameraName     string    `json:"cameraName"`
	NodeID         string    `json:"nodeId"`
	Continuous     bool      `json:"continuous"`
	CreatedAt      time.Time `json:"createdAt"`
}

// Stream is a client that watches, or has asked to.
type Stream struct {
	ID                string    `json:"id"`
	UserID            string    `json:"userId"`
	UserEmail         string    `json:"userEmail"`
	CameraDeviceID    string    `json:"cameraDeviceId"`
	CameraName        string    `json:"cameraName"`
	RequesterDeviceID string    `json:"requesterDeviceId"`
	RequesterName     string    `json:"requesterName"`
	Status            string    `json:"status" enum:"requested,streaming"`
	MediaSessionID    string    `json:"mediaSessionId,omitempty"`
	CreatedAt         time.Time `json:"createdAt"`
}

// toLive names the devices by what was read of them last: who came or went in
// between has no name yet.
func toLive(sessions []store.MediaSession, streams []store.Stream, devices []store.DeviceSummary) Live {
	known := make(map[string]store.DeviceSummary, len(devices))
	for _, d := range devices {
		known[d.ID] = d
	}
	live := Live{MediaSessions: make([]MediaSession, len(sessions)), Streams: make([]Stream, len(streams))}
	for i, m := range sessions {
		live.MediaSessions[i] = MediaSession{
			ID: m.ID, UserID: m.OwnerUserID, UserEmail: known[m.CameraDeviceID].UserEmail,
			CameraDeviceID: m.CameraDeviceID, CameraName: known[m.CameraDeviceID].Name, NodeID: m.NodeID, Continuous: m.Continuous,
			CreatedAt: m.CreatedAt,
		}
	}
	for i, st := range streams {
		live.Streams[i] = Stream{
			ID: st.ID, UserID: st.OwnerUserID, UserEmail: known[st.CameraDeviceID].UserEmail,
			CameraDeviceID: st.CameraDeviceID, CameraName: known[st.CameraDeviceID].Name,
			RequesterDeviceID: st.RequesterDeviceID, RequesterName: known[st.RequesterDeviceID].Name,
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
