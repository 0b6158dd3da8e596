package auth

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/securecam/securecam/store"
)

// Grant says by whose right a signed URL was given out. Who serves the URL asks
// Holds whether that right still stands. A Grant is a session's, a device's, or
// a user's without either, as in a push message.
type Grant struct {
	UserID    string
	SessionID string
	DeviceID  string
	KeyID     string // of the device's token
	CameraID  string // with a device: it also needs an active link with this camera
	IssuedAt  time.Time
}

// Grant returns what p may hand out in its own name. A client device that sees
// something of a camera by a link names the camera.
func (p Principal) Grant(cameraID string) Grant {
	g := Grant{UserID: p.UserID, SessionID: p.SessionID, DeviceID: p.DeviceID, KeyID: p.KeyID}
	if p.DeviceID != "" && p.DeviceID != cameraID {
		g.CameraID = cameraID
	}
	return g
}

// UserGrant returns a grant in the name of a user, which ends when the user is
// signed out everywhere, disabled or deleted.
func UserGrant(userID string, now time.Time) Grant { return Grant{UserID: userID, IssuedAt: now} }

// The kinds of grants, as they begin.
const (
	grantSession = "s"
	grantDevice  = "d"
	grantUser    = "u"
)

// String writes a grant into a URL.
func (g Grant) String() string {
	switch {
	case g.SessionID != "":
		return strings.Join([]string{grantSession, g.UserID, g.SessionID}, ".")
	case g.DeviceID != "":
		return strings.Join([]string{grantDevice, g.UserID, g.DeviceID, g.KeyID, g.CameraID}, ".")
	default:
		return strings.Join([]string{grantUser, g.UserID, strconv.FormatInt(g.IssuedAt.UnixMilli(), 10)}, ".")
	}
}

// ParseGrant reads what String wrote, false for anything else.
func ParseGrant(s string) (Grant, bool) {
	parts := strings.Split(s, ".")
	switch {
	case len(parts) == 3 && parts[0] == grantSession && parts[2] != "":
		return Grant{UserID: parts[1], SessionID: parts[2]}, true
	case len(parts) == 5 && parts[0] == grantDevice && parts[2] != "":
		return Grant{UserID: parts[1], DeviceID: parts[2], KeyID: parts[3], CameraID: parts[4]}, true
	case len(parts) == 3 && parts[0] == grantUser:
		ms, err := strconv.ParseInt(parts[2], 10, 64)
		return Grant{UserID: parts[1], IssuedAt: time.UnixMilli(ms).UTC()}, err == nil
	}
	return Grant{}, false
}

// EndedBy says whether a revocation takes this grant away.
func (g Grant) EndedBy(r store.Revocation) bool {
	switch r.Kind {
	case store.RevokedUser:
		return r.OwnerUserID == g.UserID
	case store.RevokedSession:
		return g.SessionID != "" && r.TargetID == g.SessionID
	case store.RevokedDevice:
		return g.DeviceID != "" && (r.TargetID == g.DeviceID || r.TargetID == g.CameraID)
	case store.RevokedLink:
		return g.CameraID != "" && r.CameraDeviceID == g.CameraID && r.ClientDeviceID == g.DeviceID
	}
	return false
}

// Grants is what auth needs of the database to say whether a grant stands.
type Grants interface {
	Session(ctx context.Context, userID, id string) (store.Session, error)
	ActiveLink(ctx context.Context, cameraID, clientID string) (store.Link, error)
	UserHolds(ctx context.Context, userID string, since time.Time) error
}

// Holds returns nil while the right stands by which a signed URL was given out,
// ErrUnauthenticated when it has ended, and any other error when that cannot be
// told now.
func (s *Service) Holds(ctx context.Context, grant string) error {
	g, ok := ParseGrant(grant)
	if !ok {
		return ErrUnauthenticated
	}
	err := s.holds(ctx, g)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDisabled) {
		return ErrUnauthenticated.With(err)
	}
	return err
}

func (s *Service) holds(ctx context.Context, g Grant) error {
	switch {
	case g.SessionID != "":
		row, err := s.store.Session(ctx, g.UserID, g.SessionID)
		if err == nil && !s.now().Before(row.ExpiresAt) {
			return ErrUnauthenticated
		}
		return err
	case g.DeviceID == "":
		return s.store.UserHolds(ctx, g.UserID, g.IssuedAt)
	}
	d, err := s.store.DeviceByID(ctx, g.DeviceID)
	if err != nil {
		return err
	}
	if d.UserID != g.UserID || d.TokenKeyID != g.KeyID {
		return ErrUnauthenticated
	}
	if g.CameraID != "" {
		_, err = s.store.ActiveLink(ctx, g.CameraID, g.DeviceID)
	}
	return err
}
