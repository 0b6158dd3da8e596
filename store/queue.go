package store

import (
	"context"
	"time"
)

// WorkStatus is the state of one piece of durable work.
type WorkStatus string

// The states of queued work. What has failed is a dead letter: it stays until
// somebody queues it again or deletes it.
const (
	WorkQueued WorkStatus = "queued"
	WorkSent   WorkStatus = "sent"
	WorkFailed WorkStatus = "failed"
)

// Claim says which queued work a worker takes.
type Claim struct {
	At    time.Time // now
	Until time.Time // the lease: afterwards others may take it
	Limit int
}

// Outcome is how an attempt ended. With WorkQueued the work is due again at
// NextAttemptAt.
type Outcome struct {
	Status        WorkStatus
	Error         string
	NextAttemptAt time.Time
	At            time.Time
}

// QueueStats is the state of a queue, for its operator.
type QueueStats struct {
	Queued int64
	Sent   int64     // of what is kept
	Failed int64     // dead letters
	Oldest time.Time // when the oldest queued row was made; zero when none is
}

// claimQuery takes due rows of a queue: $1 now, $2 the end of the lease, $3 how
// many. The conditions are repeated outside, so that of two processes that
// chose the same row the second one, having waited for the first, leaves it.
func claimQuery(table, columns string) string {
	const due = `status = 'queued' AND next_attempt_at <= $1`
	return `UPDATE ` + table + ` SET attempts = attempts + 1, leased = TRUE, next_attempt_at = $2, updated_at = $1
		WHERE id IN (SELECT id FROM ` + table + ` WHERE ` + due + ` ORDER BY next_attempt_at, id LIMIT $3)
		AND ` + due + ` RETURNING ` + columns
}

func (db *DB) queueStats(ctx context.Context, table string) (QueueStats, error) {
	query := `SELECT COUNT(CASE WHEN status = 'queued' THEN 1 END), COUNT(CASE WHEN status = 'sent' THEN 1 END),
		COUNT(CASE WHEN status = 'failed' THEN 1 END), MIN(CASE WHEN status = 'queued' THEN created_at END) FROM ` + table
	return one(ctx, db.r, func(r row) (s QueueStats, err error) {
		err = r.Scan(&s.Queued, &s.Sent, &s.Failed, timeColumn{&s.Oldest})
		return s, err
	}, query)
}

// prune deletes at most limit rows of a queue that ended before a time.
func (db *DB) prune(ctx context.Context, table string, before time.Time, limit int) (int64, error) {
	query := `DELETE FROM ` + table + ` WHERE id IN
		(SELECT id FROM ` + table + ` WHERE status <> 'queued' AND updated_at < $1 LIMIT $2)`
	n, err := change(ctx, db.w, query, ms(before), limit)
	return n, db.sentinel(ctx, err)
}
