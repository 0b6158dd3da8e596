package auth

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// DeviceClaims is what a device token says.
type DeviceClaims struct {
	UserID   string           `json:"userId"`
	DeviceID string           `json:"deviceId"`
	Role     store.DeviceRole `json:"role"`
	KeyID    string           `json:"keyId"` // revoked as soon as the device's row has another
	Exp      int64            `json:"exp"`   // Unix seconds
}

// IssueDeviceToken returns a token for d, bound to its role and its current
// key id, and when it expires.
func (s *Service) IssueDeviceToken(d store.Device) (string, time.Time, error) {
	expires := s.now().Add(s.deviceTokenTTL).Truncate(time.Second)
	token, err := s.keys.devices.Sign(DeviceClaims{
		UserID: d.UserID, DeviceID: d.ID, Role: d.Role, KeyID: d.TokenKeyID, Exp: expires.Unix(),
	})
	return token, expires, err
}

// Device returns whom a device token stands for, and that device's row. The
// token must be signed by us, not expired, and agree with the row in owner,
// role and key id; otherwise the error is ErrUnauthenticated.
func (s *Service) Device(ctx context.Context, token string) (Principal, store.Device, error) {
	var c DeviceClaims
	if err := s.keys.devices.Verify(token, &c); err != nil {
		return Principal{}, store.Device{}, err
	}
	if c.DeviceID == "" || c.KeyID == "" || s.now().Unix() >= c.Exp {
		return Principal{}, store.Device{}, ErrUnauthenticated
	}
	d, err := s.store.DeviceByID(ctx, c.DeviceID)
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, store.Device{}, ErrUnauthenticated
	}
	if err != nil {
		return Principal{}, store.Device{}, err
	}
	if d.UserID != c.UserID || d.Role != c.Role || d.TokenKeyID != c.KeyID {
		s.log.DebugContext(ctx, "device token revoked", slog.String("device", d.ID))
		return Principal{}, store.Device{}, ErrUnauthenticated
	}
	p := Principal{UserID: d.UserID, DeviceID: d.ID, KeyID: d.TokenKeyID, Role: d.Role, IP: rest.RequestOf(ctx).IP}
	return p, d, nil
}
