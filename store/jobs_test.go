package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// wantJobs holds how many jobs of a queue are in a state, "" for all.
func wantJobs(t *testing.T, db *store.DB, queue, status string, n int) []store.Job {
	t.Helper()
	jobs, err := db.AllJobs(t.Context(), queue, status, store.Page{})
	wantErr(t, err, nil)
	want(t, queue+" that are "+status, len(jobs), n)
	return jobs
}

// wantAudited holds how often the user's audit log has an action.
func (w world) wantAudited(t *testing.T, action string, n int) {
	t.Helper()
	entries, err := w.db.AuditEntries(t.Context(), w.user.ID, store.AuditFilter{Action: action}, store.Page{})
	wantErr(t, err, nil)
	want(t, "entries of "+action, len(entries), n)
}

func TestJobsOfPushes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		push, err := db.QueuePush(ctx, store.Push{
			OwnerUserID: w.user.ID, RecipientDeviceID: w.client.ID, Type: "motion", Payload: []byte(`{}`), CreatedAt: storetest.Now(),
		}, "", w.by)
		wantErr(t, err, nil)
		wantJobs(t, db, store.QueuePushes, "", 1)
		wantJobs(t, db, store.QueuePushes, "failed", 0)
		wantJobs(t, db, store.QueuePushes, "queued", 1)
		job, err := db.Job(ctx, store.QueuePushes, push.ID)
		wantErr(t, err, nil)
		want(t, "job", job, store.Job{
			ID: push.ID, OwnerUserID: w.user.ID, Target: w.client.ID, TargetName: w.client.Name, Type: "motion", Status: "queued",
			NextAttemptAt: push.CreatedAt, CreatedAt: push.CreatedAt, QueuedAt: push.CreatedAt, UpdatedAt: push.CreatedAt,
		})
		wantErr(t, second(db.Job(ctx, store.QueueDeliveries, push.ID)), store.ErrNotFound)
		wantErr(t, second(db.AllJobs(ctx, "no such queue", "", store.Page{})), store.ErrNotFound)
	})
}

// TestJobsOfDeliveries has a dead letter be queued again, and not be one then.
func TestJobsOfDeliveries(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		hook := store.Webhook{
			ID: storetest.ID(), UserID: w.user.ID, Name: "hook", Kind: store.KindWebhook, URL: "https://example.org/", Enabled: true,
			CreatedAt: at, UpdatedAt: at,
		}
		wantErr(t, db.CreateWebhook(ctx, hook, 1, w.by), nil)
		d := store.Delivery{
			ID: storetest.ID(), UserID: w.user.ID, WebhookID: hook.ID, MessageID: "m", Type: "ping", Payload: []byte(`{}`), CreatedAt: at,
		}
		wantErr(t, db.QueueDelivery(ctx, d, w.by), nil)
		wantErr(t, second(db.RetryDelivery(ctx, w.user.ID, d.ID, at, w.by)), store.ErrConflict)
		fail := func() {
			t.Helper()
			claimed, err := db.ClaimDeliveries(ctx, store.Claim{At: at, Until: at.Add(time.Minute), Limit: 9})
			wantErr(t, err, nil)
			want(t, "claimed", len(claimed), 1)
			wantErr(t, db.SettleDelivery(ctx, d.ID, claimed[0].Claim, store.DeliveryOutcome{
				Outcome: store.Outcome{Status: store.WorkFailed, Error: "refused", At: at},
			}), nil)
		}
		fail()
		want(t, "dead", wantJobs(t, db, store.QueueDeliveries, "failed", 1)[0].Dead, true)
		stranger := newWorld(t, db)
		wantErr(t, second(db.RetryDelivery(ctx, stranger.user.ID, d.ID, at, w.by)), store.ErrNotFound)
		wantErr(t, db.DeleteDelivery(ctx, stranger.user.ID, d.ID, w.by), store.ErrNotFound)
		again, err := db.RetryDelivery(ctx, w.user.ID, d.ID, at, w.by)
		wantErr(t, err, nil)
		want(t, "attempts", again.Attempts, 0)
		wantJobs(t, db, store.QueueDeliveries, "failed", 0)
		w.wantAudited(t, "webhook_delivery.retry", 1)
		fail()
		wantErr(t, db.DeleteDelivery(ctx, w.user.ID, d.ID, w.by), nil)
		wantErr(t, db.DeleteDelivery(ctx, w.user.ID, d.ID, w.by), store.ErrNotFound)
		wantJobs(t, db, store.QueueDeliveries, "", 0)
		w.wantAudited(t, "webhook_delivery.delete", 1)
	})
}

// TestJobsOfCommands has a command that nobody answered be sent once more, as
// if it were new.
func TestJobsOfCommands(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		c := w.commandAt(t, at, time.Hour)
		job := wantJobs(t, db, store.QueueCommands, "queued", 1)[0]
		want(t, "attempts", job.Attempts, 0)
		want(t, "the camera is away", job.Absent, false)
		wantErr(t, db.SetPresence(ctx, w.camera.ID, store.DeviceOffline, at), nil)
		want(t, "the camera is away", wantJobs(t, db, store.QueueCommands, "queued", 1)[0].Absent, true)
		wantErr(t, second(db.RetryCommand(ctx, w.user.ID, c.ID, at, w.by)), store.ErrConflict)
		wantErr(t, db.DeleteCommand(ctx, w.user.ID, c.ID, w.by), store.ErrConflict)
		w.sent(t, c.ID, at)
		expire := func(at time.Time) []store.Command {
			t.Helper()
			expired, err := db.ExpireCommands(ctx, store.CommandExpiry{
				At: at, SentBefore: at.Add(-time.Minute), Retries: 3, CreatedBefore: at.Add(-10 * time.Minute), Limit: 9,
			})
			wantErr(t, err, nil)
			return expired
		}
		want(t, "expired", len(expire(at)), 1)
		job = wantJobs(t, db, store.QueueCommands, "failed", 1)[0]
		want(t, "dead", job.Dead, true)
		want(t, "attempts", job.Attempts, 1)
		want(t, "error", job.Error, "expired")

		stranger := newWorld(t, db)
		wantErr(t, second(db.RetryCommand(ctx, stranger.user.ID, c.ID, at, w.by)), store.ErrNotFound)
		wantErr(t, db.DeleteCommand(ctx, stranger.user.ID, c.ID, w.by), store.ErrNotFound)
		again, err := db.RetryCommand(ctx, w.user.ID, c.ID, at, w.by)
		wantErr(t, err, nil)
		want(t, "status", again.Status, store.CommandQueued)
		want(t, "error", again.Error, "")
		want(t, "sent", again.SentAt.IsZero(), true)
		wantErr(t, db.MarkCommandSent(ctx, c.ID, again.Attempt-1, at), store.ErrConflict) // whoever was late
		job = wantJobs(t, db, store.QueueCommands, "queued", 1)[0]
		want(t, "attempts", job.Attempts, 0)
		want(t, "queued", job.QueuedAt, at)
		want(t, "made", job.CreatedAt, c.CreatedAt)
		want(t, "too old at once", len(expire(at.Add(9*time.Minute))), 0)
		want(t, "too old again", len(expire(at.Add(10*time.Minute))), 1)
		w.wantAudited(t, "command.retry", 1)

		link, err := db.Links(ctx, w.user.ID, store.LinkFilter{}, store.Page{})
		wantErr(t, err, nil)
		wantErr(t, db.RevokeLink(ctx, w.user.ID, link[0].ID, w.by), nil)
		wantErr(t, second(db.RetryCommand(ctx, w.user.ID, c.ID, at, w.by)), store.ErrNotFound)
		wantErr(t, db.DeleteCommand(ctx, w.user.ID, c.ID, w.by), nil)
		wantJobs(t, db, store.QueueCommands, "", 0)
		w.wantAudited(t, "command.delete", 1)
	})
}

// TestRetryIsOverWithItsStream holds that a camera is not woken for a stream
// that has ended, and that the stream survives its command.
func TestRetryIsOverWithItsStream(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		cmd := w.command()
		s, err := db.RequestStream(ctx, w.stream(), cmd, w.by)
		wantErr(t, err, nil)
		expire := store.CommandExpiry{At: at, CreatedBefore: at.Add(time.Hour), Limit: 9}
		wantErr(t, second(db.ExpireCommands(ctx, expire)), nil)
		wantErr(t, second(db.RetryCommand(ctx, w.user.ID, cmd.ID, at, w.by)), nil)
		wantErr(t, second(db.ExpireCommands(ctx, expire)), nil)
		w.end(t, s.ID)
		want(t, "dead", wantJobs(t, db, store.QueueCommands, "failed", 1)[0].Dead, true)
		wantErr(t, second(db.RetryCommand(ctx, w.user.ID, cmd.ID, at, w.by)), store.ErrConflict)
		wantErr(t, db.DeleteCommand(ctx, w.user.ID, cmd.ID, w.by), nil)
		wantErr(t, second(db.Stream(ctx, w.user.ID, s.ID)), nil)
		cmd = w.command()
		s, err = db.RequestStream(ctx, w.stream(), cmd, w.by)
		wantErr(t, err, nil)
		w.end(t, s.ID)
		want(t, "dead, of a stream that ended first", wantJobs(t, db, store.QueueCommands, "failed", 1)[0].Dead, false)
		wantErr(t, second(db.RetryCommand(ctx, w.user.ID, cmd.ID, at, w.by)), store.ErrConflict)
	})
}

// TestJobsOfUploads has an upload that did not come be awaited once more.
func TestJobsOfUploads(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		db.SetLimits(store.Limits{UploadLife: time.Hour})
		w := newWorld(t, db)
		ours, r := w.recording(), w.recording()
		wantErr(t, db.CreateRecording(ctx, ours, w.by), nil)
		wantErr(t, db.FailRecording(ctx, ours.ID, "no_media", at), nil)
		r.NodeID, r.Status = "", store.RecordingAwaitingUpload
		wantErr(t, db.CreateRecording(ctx, r, w.by), nil)
		want(t, "awaits its camera", wantJobs(t, db, store.QueueUploads, "", 1)[0].Absent, true)
		wantErr(t, second(db.AwaitUpload(ctx, w.user.ID, r.ID, at, w.by)), store.ErrConflict)
		wantErr(t, second(db.AwaitUpload(ctx, w.user.ID, ours.ID, at, w.by)), store.ErrConflict)
		wantErr(t, db.GiveUpRecording(ctx, r, "not_uploaded", at), nil)
		want(t, "dead", wantJobs(t, db, store.QueueUploads, "failed", 1)[0].Dead, true)
		wantErr(t, second(db.AwaitUpload(ctx, newWorld(t, db).user.ID, r.ID, at, w.by)), store.ErrNotFound)
		later := at.Add(time.Minute)
		again, err := db.AwaitUpload(ctx, w.user.ID, r.ID, later, w.by)
		wantErr(t, err, nil)
		want(t, "status", again.Status, store.RecordingAwaitingUpload)
		stale, err := db.StaleUploads(ctx, later, 9)
		wantErr(t, err, nil)
		want(t, "stale at once", len(stale), 0)
		doomed, err := db.DoomedObjects(ctx, at.Add(24*time.Hour), 9)
		wantErr(t, err, nil)
		want(t, "its former object is doomed still", len(doomed) == 1 && doomed[0] == r.ObjectKey && again.ObjectKey != r.ObjectKey, true)
		w.wantAudited(t, "recording.await_upload", 1)
		wantErr(t, db.GiveUpRecording(ctx, again, "not_uploaded", later), nil)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.camera.ID, w.by), nil)
		want(t, "dead, of a camera that is gone", wantJobs(t, db, store.QueueUploads, "failed", 1)[0].Dead, false)
		wantErr(t, second(db.AwaitUpload(ctx, w.user.ID, r.ID, later, w.by)), store.ErrConflict)
		wantErr(t, db.DeleteFailedJob(ctx, store.QueueUploads, store.Job{ID: ours.ID, OwnerUserID: w.user.ID}, w.by), store.ErrConflict)
		wantErr(t, db.DeleteFailedJob(ctx, store.QueueUploads, store.Job{ID: r.ID, OwnerUserID: w.user.ID}, w.by), nil)
		wantJobs(t, db, store.QueueUploads, "", 0)
	})
}

// TestDeleteFailedJob deletes by what was true when the job was read: what goes
// on by now stays.
func TestDeleteFailedJob(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		wantErr(t, second(db.QueuePush(ctx, store.Push{
			OwnerUserID: w.user.ID, RecipientDeviceID: w.client.ID, Type: "motion", Payload: []byte(`{}`), CreatedAt: at,
		}, "", w.by)), nil)
		hook := store.Webhook{
			ID: storetest.ID(), UserID: w.user.ID, Name: "hook", Kind: store.KindWebhook, URL: "https://example.org/", Enabled: true,
			CreatedAt: at, UpdatedAt: at,
		}
		wantErr(t, db.CreateWebhook(ctx, hook, 9, w.by), nil)
		wantErr(t, db.QueueDelivery(ctx, store.Delivery{
			ID: storetest.ID(), UserID: w.user.ID, WebhookID: hook.ID, MessageID: "m", Type: "ping", Payload: []byte(`{}`), CreatedAt: at,
		}, w.by), nil)
		failed := store.Outcome{Status: store.WorkFailed, At: at}
		wantErr(t, db.CreateCommand(ctx, w.command(), w.by), nil)
		awaited := w.awaiting(t)
		for queue, settle := range map[string]func(id string){
			store.QueuePushes: func(id string) {
				claimed, err := db.ClaimPushes(ctx, store.Claim{At: at, Until: at, Limit: 9})
				wantErr(t, err, nil)
				wantErr(t, db.SettlePush(ctx, id, claimed[0].Claim, failed), nil)
			},
			store.QueueDeliveries: func(id string) {
				claimed, err := db.ClaimDeliveries(ctx, store.Claim{At: at, Until: at, Limit: 9})
				wantErr(t, err, nil)
				wantErr(t, db.SettleDelivery(ctx, id, claimed[0].Claim, store.DeliveryOutcome{Outcome: failed}), nil)
			},
			store.QueueCommands: func(string) {
				_, err := db.ExpireCommands(ctx, store.CommandExpiry{At: at, CreatedBefore: at.Add(time.Hour), Limit: 9})
				wantErr(t, err, nil)
			},
			store.QueueUploads: func(string) { wantErr(t, db.GiveUpRecording(ctx, awaited, "not_uploaded", at), nil) },
		} {
			job := wantJobs(t, db, queue, "", 1)[0]
			wantErr(t, db.DeleteFailedJob(ctx, queue, job, w.by), store.ErrConflict)
			settle(job.ID)
			wantErr(t, db.DeleteFailedJob(ctx, queue, job, w.by), nil)
			wantErr(t, db.DeleteFailedJob(ctx, queue, job, w.by), store.ErrNotFound)
		}
		for _, target := range []string{"push_notification", "webhook_delivery", "command", "recording"} {
			w.wantAudited(t, target+".delete", 1)
		}
	})
}
