package store

import (
	"context"
	"database/sql"
	"time"
)

// providerCredential is the account that holds a user's password.
const providerCredential = "credential"

// insertAccount adds the account with which a user signs in by password.
func insertAccount(ctx context.Context, tx *sql.Tx, userID, passwordHash string, at time.Time) error {
	const columns = "id, user_id, provider_id, account_id, password_hash, created_at, updated_at"
	return insert(ctx, tx, "accounts", columns, newID(), userID, providerCredential, userID, passwordHash, ms(at), ms(at))
}
