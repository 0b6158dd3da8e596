package push

import (
	"context"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/webpush"
	"github.com/securecam/securecam/store"
)

var (
	// ErrEndpoint reports an endpoint that this server may not send to.
	ErrEndpoint = fault.New(fault.Unprocessable, "invalid_endpoint", "The endpoint must be an https URL of a public push service.")
	// ErrKeys reports keys that no browser makes.
	ErrKeys = fault.New(fault.Unprocessable, "invalid_keys",
		"The keys must be those of the browser's subscription: p256dh, a point of P-256, and auth, 16 bytes, both base64url.")
)

// Subscribe makes messages for a device of p's user go to a browser. A device
// may do that for itself.
func (s *Service) Subscribe(ctx context.Context, p auth.Principal, sub store.PushSubscription) (store.PushSubscription, error) {
	if err := s.own(ctx, p, sub.DeviceID); err != nil {
		return store.PushSubscription{}, err
	}
	if err := s.cfg.Sender.Check(sub.Endpoint); err != nil {
		return store.PushSubscription{}, ErrEndpoint.With(err)
	}
	if _, err := webpush.ParseKeys(sub.P256dh, sub.AuthSecret); err != nil {
		return store.PushSubscription{}, ErrKeys.With(err)
	}
	now := s.now()
	sub.UserID, sub.CreatedAt, sub.UpdatedAt = p.UserID, now, now
	if err := s.cfg.Store.SetPushSubscription(ctx, sub, p.Actor()); err != nil {
		return store.PushSubscription{}, err
	}
	return sub, nil
}

// Subscription returns the subscription of a device that p may ask about.
func (s *Service) Subscription(ctx context.Context, p auth.Principal, deviceID string) (store.PushSubscription, error) {
	if err := s.own(ctx, p, deviceID); err != nil {
		return store.PushSubscription{}, err
	}
	return s.cfg.Store.PushSubscription(ctx, p.UserID, deviceID)
}

// Unsubscribe ends the subscription of a device that p may speak for.
func (s *Service) Unsubscribe(ctx context.Context, p auth.Principal, deviceID string) error {
	if err := s.own(ctx, p, deviceID); err != nil {
		return err
	}
	return s.cfg.Store.DeletePushSubscription(ctx, p.UserID, deviceID, p.Actor())
}

// Test queues a message for a device that has a subscription, to try it out.
func (s *Service) Test(ctx context.Context, p auth.Principal, deviceID string) (store.Push, error) {
	if _, err := s.Subscription(ctx, p, deviceID); err != nil {
		return store.Push{}, err
	}
	return s.Send(ctx, Message{UserID: p.UserID, DeviceID: deviceID, Type: typeTest, Data: struct{}{}}, p.Actor())
}

// own allows a user its devices, and a device itself.
func (s *Service) own(ctx context.Context, p auth.Principal, deviceID string) error {
	d, err := s.cfg.Store.Device(ctx, p.UserID, deviceID)
	if err != nil {
		return err
	}
	if p.DeviceID != "" && p.DeviceID != d.ID {
		return auth.ErrForbidden
	}
	return nil
}
