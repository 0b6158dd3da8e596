package store

import "errors"

// ErrNotFound reports that a row does not exist, or is not the asking user's.
var ErrNotFound = errors.New("store: not found")

// ErrConflict reports that a row is not in a state that allows the change, or
// that a unique value is taken.
var ErrConflict = errors.New("store: conflict")

// ErrDisabled reports a user who may not sign in.
var ErrDisabled = errors.New("store: user disabled")

// ErrNoSpace reports that the database's disk is full: nothing was changed.
var ErrNoSpace = errors.New("store: no space left")

// ErrUnavailable reports that the database does not answer, or not now: the
// same call may succeed later. What it wraps says why. A change that returns
// it may have happened, when the connection broke during its commit.
var ErrUnavailable = errors.New("store: unavailable")
