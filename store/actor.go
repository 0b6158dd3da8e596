package store

// Actor says on whose behalf a row changes; it becomes the audit entry that
// the same transaction writes. The zero Actor is the server itself.
type Actor struct {
	UserID   string
	DeviceID string
	IP       string
	Admin    string // the administrator's name, when it is that one
}
