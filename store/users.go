package store

import "time"

// User is a person with an account.
type User struct {
	ID            string
	Name          string
	Email         string // lower case
	EmailVerified bool
	Image         string
	CreatedAt     time.Time
	UpdatedAt     time.Time
}
