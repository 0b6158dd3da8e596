package store

import "errors"

// ErrNotFound reports that a row does not exist, or is not the asking user's.
var ErrNotFound = errors.New("store: not found")

// ErrConflict reports that a row is not in a state that allows the change, or
// that a unique value is taken.
var ErrConflict = errors.New("store: conflict")
