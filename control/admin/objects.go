package admin

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// errStorage answers when the object store does not.
var errStorage = fault.New(fault.Unavailable, "storage_unavailable", "The storage does not answer. Try again.")

// ObjectEntry is one name in a folder.
type ObjectEntry struct {
	Name    string    `json:"name" example:"recordings/" doc:"Ends with a slash for a folder"`
	Size    int64     `json:"size,omitempty" doc:"Bytes, of an object"`
	ModTime time.Time `json:"modifiedAt,omitzero"`
}

func toObjectEntry(e Entry) ObjectEntry { return ObjectEntry(e) }

// objectFault tells a name that is wrong from a store that does not answer.
func objectFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrInvalid):
		return errBadKey.With(err)
	case errors.Is(err, fs.ErrNotExist):
		return errObjectGone.With(err)
	}
	return errStorage.With(err)
}

// folder lists one more name than is wanted, to tell whether there are more.
func (s *Service) folder(ctx context.Context, folder, after string, limit int) (entries []Entry, more bool, err error) {
	entries, err = s.cfg.Objects.List(ctx, folder, after, limit+1)
	if err != nil {
		return nil, false, objectFault(err)
	}
	if len(entries) > limit {
		return entries[:limit], true, nil
	}
	return entries, false, nil
}

// deleteObject deletes an object that is there.
func (s *Service) deleteObject(ctx context.Context, key string) error {
	if _, err := s.cfg.Objects.Stat(ctx, key); err != nil {
		return objectFault(err)
	}
	if err := s.note(ctx, key, store.AuditDeleteFile); err != nil {
		return err
	}
	if err := s.cfg.Objects.Delete(ctx, key); err != nil {
		return objectFault(err)
	}
	return nil
}

const noteTimeout = 10 * time.Second

// note writes into its owner's audit log what is about to be done to an object.
// One that is nobody's is in the server's log only.
func (s *Service) note(ctx context.Context, key, verb string) error {
	s.log.InfoContext(ctx, "administrator touches object", slog.String("object_key", key), slog.String("action", verb))
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	o, err := s.cfg.Store.ObjectOf(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.cfg.Store.NoteAccess(ctx, s.actor(ctx), o.OwnerUserID, o.Type, verb, o.ID, map[string]any{"objectKey": key})
}
