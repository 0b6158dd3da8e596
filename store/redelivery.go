package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Why a command failed; part of the API.
const (
	errStreamEnded = "stream_ended" // the stream that it asked for
	errUnanswered  = "unanswered"   // sent often enough
	errExpired     = "expired"      // too old, whether it was sent or not
	errCancelled   = "cancelled"    // by whoever sent it
)

// deadCommand is the condition for a dead letter: a command that failed because
// nobody answered it, and not because somebody wanted that.
const deadCommand = `status = 'failed' AND error IN ('` + errUnanswered + `', '` + errExpired + `')`

// CommandClaim says which commands ClaimCommands takes.
type CommandClaim struct {
	At     time.Time // now
	Before time.Time // only commands that nobody has touched since
	// AgainBefore is Before for commands that were sent again already; not
	// earlier than Before.
	AgainBefore time.Time
	Retries     int // only sent commands that were sent again less often
	PerDevice   int // how many of each target
	Limit       int // how many in all
}

// ClaimCommands returns commands that are to be sent to devices that are
// online, oldest first: again, for want of an answer, or for the first time. It
// touches them, so that no other process takes them too and that the next claim
// begins with others.
func (db *DB) ClaimCommands(ctx context.Context, c CommandClaim) (claimed []Command, err error) {
	const due = `(updated_at <= $2 OR (status = 'sent' AND retry_count > 0 AND updated_at <= $6))`
	const query = `UPDATE device_commands SET updated_at = $1, attempt = attempt + 1 WHERE id IN (
			SELECT id FROM (
				SELECT id, updated_at, ROW_NUMBER() OVER (PARTITION BY target_device_id ORDER BY updated_at, id) AS nth
				FROM device_commands WHERE status IN ('queued', 'sent') AND ` + due + `
				AND (status = 'queued' OR retry_count < $3)
				AND EXISTS (SELECT 1 FROM devices d WHERE d.id = target_device_id AND d.status = 'online')
			) AS due WHERE nth <= $4 ORDER BY updated_at, id LIMIT $5)
		AND status IN ('queued', 'sent') AND ` + due + ` RETURNING ` + commandColumns
	again := c.AgainBefore
	if again.Before(c.Before) {
		again = c.Before
	}
	err = db.inTx(ctx, func(tx *txn) (err error) {
		claimed, err = all(ctx, tx, scanCommand, query, ms(c.At), ms(c.Before), c.Retries, c.PerDevice, c.Limit, ms(again))
		return err
	})
	sortCommands(claimed)
	return claimed, err
}

// CommandExpiry says which commands ExpireCommands fails.
type CommandExpiry struct {
	At            time.Time // now
	SentBefore    time.Time // sent often enough, and not since
	Retries       int       // what is often enough
	CreatedBefore time.Time // too old, or for too long since it was queued again
	Limit         int       // how many at once
}

// ExpireCommands fails commands that nobody answers and returns them, oldest
// first.
func (db *DB) ExpireCommands(ctx context.Context, e CommandExpiry) (expired []Command, err error) {
	const over = `status IN ('queued', 'sent')
		AND (COALESCE(queued_at, created_at) <= $2 OR (status = 'sent' AND retry_count >= $3 AND sent_at <= $4))`
	const query = `UPDATE device_commands SET status = 'failed', updated_at = $1,
			error = CASE WHEN COALESCE(queued_at, created_at) <= $2 THEN '` + errExpired + `' ELSE '` + errUnanswered + `' END
		WHERE id IN (SELECT id FROM device_commands WHERE ` + over + ` ORDER BY created_at, id LIMIT $5)
		AND ` + over + ` RETURNING ` + commandColumns
	err = db.inTx(ctx, func(tx *txn) (err error) {
		expired, err = all(ctx, tx, scanCommand, query, ms(e.At), ms(e.CreatedBefore), e.Retries, ms(e.SentBefore), e.Limit)
		if err != nil {
			return err
		}
		for _, c := range expired {
			err := audit(ctx, tx, Actor{}, c.OwnerUserID, "command", "fail", c.ID, details{"error": c.Error})
			if err != nil {
				return err
			}
		}
		return nil
	})
	sortCommands(expired)
	return expired, err
}

// RetryCommand queues a command of the user that nobody answered once more, as
// if it were new. It returns ErrConflict for one that has not failed so, or that
// asked for a stream which has ended since, and ErrNotFound unless its devices
// are linked still.
func (db *DB) RetryCommand(ctx context.Context, userID, id string, at time.Time, by Actor) (c Command, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		const mine = "SELECT " + commandColumns + " FROM device_commands WHERE id = $1 AND owner_user_id = $2"
		dead, err := one(ctx, tx, scanCommand, mine, id, userID)
		if err != nil {
			return err
		}
		if err := db.admitCommand(ctx, tx, dead); err != nil {
			return err
		}
		const query = `UPDATE device_commands SET status = 'queued', retry_count = 0, error = '', sent_at = NULL,
				attempt = attempt + 1, queued_at = $2, updated_at = $2
			WHERE id = $1 AND ` + deadCommand + ` AND NOT EXISTS (SELECT 1 FROM stream_sessions s
				WHERE s.command_id = device_commands.id AND s.status <> 'requested') RETURNING ` + commandColumns
		c, err = one(ctx, tx, scanCommand, query, id, ms(at))
		if errors.Is(err, ErrNotFound) {
			return ErrConflict
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "command", "retry", id, details{"error": dead.Error})
	})
	return c, err
}

// DeleteCommand deletes the user's command, which returns ErrConflict until it
// has ended.
func (db *DB) DeleteCommand(ctx context.Context, userID, id string, by Actor) error {
	return db.deleteCommand(ctx, userID, id, "status NOT IN ('queued', 'sent')", by)
}

// deleteCommand returns ErrConflict for a command that the condition does not
// hold for.
func (db *DB) deleteCommand(ctx context.Context, userID, id, which string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const mine = "SELECT " + commandColumns + " FROM device_commands WHERE id = $1 AND owner_user_id = $2"
		c, err := one(ctx, tx, scanCommand, mine, id, userID)
		if err != nil {
			return err
		}
		// Whoever ends the stream that it asked for does so under this lock.
		if err := lockCamera(ctx, tx, userID, c.TargetDeviceID); err != nil {
			return err
		}
		if _, err := change(ctx, tx, `UPDATE stream_sessions SET command_id = NULL WHERE command_id = $1`, id); err != nil {
			return err
		}
		err = changeOne(ctx, tx, "DELETE FROM device_commands WHERE id = $1 AND "+which, id)
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM device_commands WHERE id = $1`, id)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "command", "delete", id, details{"commandType": c.CommandType, "status": c.Status})
	})
}

// sortCommands brings what an update returned into order, oldest first.
func sortCommands(list []Command) {
	slices.SortFunc(list, func(a, b Command) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// eitherSide is a condition for failPending: from or to the device $3.
const eitherSide = `(source_device_id = $3 OR target_device_id = $3)`

// failPending fails the unanswered commands that a condition selects, whose
// arguments begin at $3. It is part of a change that is audited itself.
func failPending(ctx context.Context, tx *txn, errText string, at time.Time, where string, args ...any) error {
	query := `UPDATE device_commands SET status = 'failed', error = $1, updated_at = $2
		WHERE status IN ('queued', 'sent') AND ` + where + ` RETURNING ` + commandColumns
	return endCommands(ctx, tx, query, append([]any{errText, ms(at)}, args...)...)
}
