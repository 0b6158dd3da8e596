package store

import "time"

// Session is a signed-in browser. Only the SHA-256 of its token is kept.
type Session struct {
	ID          string
	UserID      string
	TokenSHA256 []byte
	IPAddress   string
	UserAgent   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ExpiresAt   time.Time
}
