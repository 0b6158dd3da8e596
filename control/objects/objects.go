// Package objects serves stored objects to whoever has a signed URL for them.
package objects

import (
	"context"
	"io"
	"net/url"
	"time"

	"github.com/securecam/securecam/control/fault"
)

// Files is a store that signs URLs of its own. Its errors wrap
// fs.ErrNotExist for an object that is not there.
type Files interface {
	// Verify checks the query of a signed URL and returns what was signed.
	Verify(method, key string, query url.Values) (Signed, error)
	Stat(ctx context.Context, key string) (Info, error)
	// Open reads n bytes from off.
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
}

// Signed is what a signed URL says beside its object.
type Signed struct {
	Filename string // under which it offers a download, "" for none
	Grant    string // by whose right it was given out
}

// Grants says whether a right still stands by which a URL was given out. Its
// error is a fault when it does not.
type Grants interface {
	Holds(ctx context.Context, grant string) error
}

// Info describes an object. Objects never change.
type Info struct {
	Key         string
	Size        int64 // bytes
	ContentType string
	ModTime     time.Time
}

// ErrSignature answers a URL that expired or was changed, whether its object
// exists or not.
var ErrSignature = fault.New(fault.Forbidden, "invalid_signature", "This link has expired or is not complete. Ask for a new one.")

// ErrNotFound answers a valid URL of an object that was deleted.
var ErrNotFound = fault.New(fault.NotFound, "not_found", "This file was deleted.")

// ErrRevoked answers a URL whose holder has lost the right to it.
var ErrRevoked = fault.New(fault.Forbidden, "revoked", "This link does not hold any more.")

// Service serves the objects of a Files.
type Service struct {
	files   Files
	uploads Uploads // nil: none
	awaited Awaited
	grants  Grants
	open    downloads

	incoming downloads // the same, the other way
}

// New returns a Service.
func New(files Files, grants Grants) *Service {
	return &Service{
		files: files, grants: grants,
		open: downloads{all: map[*download]struct{}{}}, incoming: downloads{all: map[*download]struct{}{}},
	}
}
