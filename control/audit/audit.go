// Package audit shows a user what was done to the user's things: changes, and
// who watched or downloaded what. It only reads; entries are written by the
// transactions that they describe.
package audit

import (
	"context"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
)

// Store is what audit needs from the database.
type Store interface {
	AuditEntries(ctx context.Context, userID string, f store.AuditFilter, p store.Page) ([]store.AuditEntry, error)
}

// Service is the feature.
type Service struct {
	store Store
}

// New returns the feature.
func New(s Store) *Service { return &Service{store: s} }

// Entries lists the entries that p may see, newest first: all of a user's, but
// to a device only what it did and what was done to it.
func (s *Service) Entries(
	ctx context.Context, p auth.Principal, f store.AuditFilter, page store.Page,
) ([]store.AuditEntry, error) {
	f.DeviceID = p.DeviceID
	return s.store.AuditEntries(ctx, p.UserID, f, page)
}
