package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
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

// What one user and one recipient may have in the hands of workers at a time,
// in all processes: a receiver that does not answer holds its worker for as
// long as an attempt may take. Two processes that claim at the same moment may
// exceed it by what they claim.
const (
	leasesOfUser      = 4
	leasesOfRecipient = 2
)

// queue is a table of durable work.
type queue struct {
	table, columns   string
	owner, recipient string // the columns that name them; ids of recipients are unique among all users
}

// claim takes due rows: $1 now, $2 the end of the lease, $3 how many. Whose
// user has the fewest in the hands of workers comes first, so that nobody waits
// for what another one has queued. The conditions are repeated outside, so that
// of two processes that chose the same row the second one, having waited for
// the first, leaves it.
//
// It costs some look-ups in an index for each recipient that has rows waiting,
// however many those are.
func (q queue) claim() string {
	const due = `status = 'queued' AND next_attempt_at <= $1`
	var candidates []string // SQLite takes no OFFSET that depends on a row
	for place := range leasesOfRecipient {
		candidates = append(candidates, fmt.Sprintf(`SELECT (SELECT q.id FROM @table q WHERE q.@recipient = w.id AND `+due+`
				ORDER BY q.next_attempt_at, q.id LIMIT 1 OFFSET %d) AS id,
			%d + (SELECT COUNT(*) FROM @table q WHERE q.leased AND q.@owner = w.owner AND q.@recipient = w.id AND q.next_attempt_at > $1) AS place
			FROM owned w`, place, place))
	}
	query := `WITH RECURSIVE waiting(id) AS (
			SELECT MIN(@recipient) FROM @table WHERE status = 'queued'
			UNION ALL
			SELECT (SELECT MIN(q.@recipient) FROM @table q WHERE q.status = 'queued' AND q.@recipient > w.id)
			FROM waiting w WHERE w.id IS NOT NULL
		), owned AS (
			SELECT w.id, (SELECT q.@owner FROM @table q WHERE q.status = 'queued' AND q.@recipient = w.id LIMIT 1) AS owner
			FROM waiting w WHERE w.id IS NOT NULL
		), candidates AS (` + strings.Join(candidates, " UNION ALL ") + `
		), turns AS (
			SELECT q.id, q.next_attempt_at, ROW_NUMBER() OVER (PARTITION BY q.@owner ORDER BY c.place, q.next_attempt_at, q.id) +
				(SELECT COUNT(*) FROM @table l WHERE l.leased AND l.@owner = q.@owner AND l.next_attempt_at > $1) AS turn
			FROM candidates c JOIN @table q ON q.id = c.id WHERE c.place < @ofRecipient
		)
		UPDATE @table SET attempts = attempts + 1, claims = claims + 1, leased = TRUE, next_attempt_at = $2, updated_at = $1
		WHERE id IN (SELECT id FROM turns WHERE turn <= @ofUser ORDER BY turn, next_attempt_at, id LIMIT $3)
		AND ` + due + ` RETURNING @columns`
	return strings.NewReplacer("@table", q.table, "@columns", q.columns, "@owner", q.owner, "@recipient", q.recipient,
		"@ofRecipient", strconv.Itoa(leasesOfRecipient), "@ofUser", strconv.Itoa(leasesOfUser)).Replace(query)
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
