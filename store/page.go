package store

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Page asks for at most Limit rows, newest first, older than Before.
type Page struct {
	Limit  int
	Before Cursor
}

// Cursor names a row's place in a list ordered by creation, newest first. The
// zero Cursor is the beginning.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// ErrBadCursor reports a cursor that String did not make.
var ErrBadCursor = errors.New("store: bad cursor")

const maxCursorLength = 128

// String returns the cursor as an opaque token; the zero Cursor as "".
func (c Cursor) String() string {
	if c.ID == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.CreatedAt.UnixMilli(), 10) + " " + c.ID))
}

// ParseCursor reads what String made. It returns ErrBadCursor for anything
// else.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	if len(s) > maxCursorLength {
		return Cursor{}, ErrBadCursor
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return Cursor{}, ErrBadCursor
	}
	ms, id, ok := strings.Cut(string(raw), " ")
	n, err := strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil || id == "" {
		return Cursor{}, ErrBadCursor
	}
	return Cursor{CreatedAt: time.UnixMilli(n).UTC(), ID: id}, nil
}
