package store

import (
	"context"
	"time"
)

// providerCredential is the account that holds a user's password.
const providerCredential = "credential"

// insertAccount adds the account with which a user signs in by password.
func insertAccount(ctx context.Context, tx *txn, userID, passwordHash string, at time.Time) error {
	const columns = "id, user_id, provider_id, account_id, password_hash, created_at, updated_at"
	return insert(ctx, tx, "accounts", columns, NewID(), userID, providerCredential, userID, passwordHash, ms(at), ms(at))
}

func accountHash(ctx context.Context, q querier, userID string) (string, error) {
	const query = `SELECT password_hash FROM accounts WHERE user_id = $1 AND provider_id = $2`
	return one(ctx, q, scanText, query, userID, providerCredential)
}

// setAccountHash changes the user's password, or gives the user one.
func setAccountHash(ctx context.Context, tx *txn, userID, passwordHash string, at time.Time) error {
	const query = `UPDATE accounts SET password_hash = $3, updated_at = $4 WHERE user_id = $1 AND provider_id = $2`
	n, err := change(ctx, tx, query, userID, providerCredential, passwordHash, ms(at))
	if err != nil || n > 0 {
		return err
	}
	return insertAccount(ctx, tx, userID, passwordHash, at)
}
