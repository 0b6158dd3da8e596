package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Job is a piece of durable work, whichever queue it is in, as the
// administrator sees it. It changes through the methods of its own kind.
type Job struct {
	ID          string
	OwnerUserID string
	Target      string // the device or the webhook that it is for; of an upload the camera it is from
	TargetName  string // what its owner calls that
	Type        string
	Status      string // in the words of its kind
	Attempts    int
	Error       string
	// Dead says that it failed because nobody took it: it can be tried again.
	Dead bool
	// Absent says that it waits for a device that is not connected, or for an
	// upload: when that comes is not for us to say.
	Absent        bool
	NextAttemptAt time.Time // of pushes and deliveries
	CreatedAt     time.Time
	QueuedAt      time.Time // for the last time
	UpdatedAt     time.Time
}

// The queues of jobs.
const (
	QueuePushes     = "pushes"
	QueueDeliveries = "webhook-deliveries"
	QueueCommands   = "commands"
	QueueUploads    = "uploads"
)

// AllJobs lists the jobs of a queue, those of one status unless that is empty.
func (db *DB) AllJobs(ctx context.Context, queue, status string, p Page) ([]Job, error) {
	from, which, err := jobsOf(queue)
	if err != nil {
		return nil, err
	}
	var f filter
	f.and(which)
	if status != "" {
		f.and("status = ?", status)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanJob, from+clauses, args...)
}

// Job returns a job whoever owns it.
func (db *DB) Job(ctx context.Context, queue, id string) (Job, error) {
	from, which, err := jobsOf(queue)
	if err != nil {
		return Job{}, err
	}
	return one(ctx, db.r, scanJob, from+" WHERE id = $1 AND "+which, id)
}

const hasFailed = "status = 'failed'"

// DeleteFailedJob deletes a job that has failed. It returns ErrConflict when it
// has not, or has been queued again since.
func (db *DB) DeleteFailedJob(ctx context.Context, queue string, j Job, by Actor) error {
	switch queue {
	case QueuePushes:
		return db.deleteFailed(ctx, "push_notifications", "push_notification", j, by)
	case QueueDeliveries:
		return db.deleteFailed(ctx, "webhook_deliveries", "webhook_delivery", j, by)
	case QueueCommands:
		return db.deleteCommand(ctx, j.OwnerUserID, j.ID, hasFailed, by)
	case QueueUploads:
		_, err := db.deleteRecording(ctx, j.OwnerUserID, j.ID, uploaded+" AND "+hasFailed, by)
		return err
	}
	return fmt.Errorf("%w: no queue %q", ErrNotFound, queue)
}

func (db *DB) deleteFailed(ctx context.Context, table, target string, j Job, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		err := changeOne(ctx, tx, "DELETE FROM "+table+" WHERE id = $1 AND "+hasFailed, j.ID)
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, "SELECT id FROM "+table+" WHERE id = $1", j.ID)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, j.OwnerUserID, target, "delete", j.ID, nil)
	})
}

// jobsOf returns the query of a queue's jobs and the condition for what of the
// table is one.
func jobsOf(queue string) (from, which string, err error) {
	const (
		everything = "1 = 1"
		mail       = "type, status, attempts, error, status = 'failed', FALSE, next_attempt_at, created_at, created_at, updated_at"
		away       = "NOT EXISTS (SELECT 1 FROM devices d WHERE d.id = target_device_id AND d.status = 'online')"
		named      = ", (SELECT t.name FROM devices t WHERE t.id = "
	)
	switch queue {
	case QueuePushes:
		from = "SELECT id, owner_user_id, recipient_device_id" + named + "recipient_device_id), " + mail + " FROM push_notifications"
		return from, everything, nil
	case QueueDeliveries:
		from = "SELECT id, user_id, webhook_id, (SELECT t.name FROM webhooks t WHERE t.id = webhook_id), " + mail + " FROM webhook_deliveries"
		return from, everything, nil
	case QueueCommands:
		return `SELECT id, owner_user_id, target_device_id` + named + `target_device_id), command_type, status,
			retry_count + CASE WHEN sent_at IS NULL THEN 0 ELSE 1 END, error, ` + deadCommand + `,
			status IN ('queued', 'sent') AND ` + away + `, NULL, created_at, COALESCE(queued_at, created_at), updated_at
			FROM device_commands`, everything, nil
	case QueueUploads:
		return `SELECT id, owner_user_id, camera_device_id` + named + `camera_device_id), content_type, status, 0, error, ` + deadUpload + `,
			status = 'awaiting_upload', NULL, created_at, created_at, updated_at FROM recordings`, uploaded, nil
	}
	return "", "", fmt.Errorf("%w: no queue %q", ErrNotFound, queue)
}

func scanJob(r row) (j Job, err error) {
	err = r.Scan(&j.ID, &j.OwnerUserID, &j.Target, &j.TargetName, &j.Type, &j.Status, &j.Attempts, &j.Error, &j.Dead, &j.Absent,
		timeColumn{&j.NextAttemptAt}, timeColumn{&j.CreatedAt}, timeColumn{&j.QueuedAt}, timeColumn{&j.UpdatedAt})
	return j, err
}
