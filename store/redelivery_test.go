package store_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// commandAt adds a command of the pair that was created some time before at.
func (w world) commandAt(t *testing.T, at time.Time, age time.Duration) store.Command {
	t.Helper()
	c := w.command()
	c.CreatedAt, c.UpdatedAt = at.Add(-age), at.Add(-age)
	wantErr(t, w.db.CreateCommand(t.Context(), c, w.by), nil)
	return c
}

func (w world) wantCommand(t *testing.T, id string, status store.CommandStatus, errText string) {
	t.Helper()
	c, err := w.db.Command(t.Context(), w.user.ID, id)
	wantErr(t, err, nil)
	want(t, "status", c.Status, status)
	want(t, "error", c.Error, errText)
}

// sent marks a command as the last attempt would.
func (w world) sent(t *testing.T, id string, at time.Time) {
	t.Helper()
	c, err := w.db.Command(t.Context(), w.user.ID, id)
	wantErr(t, err, nil)
	wantErr(t, w.db.MarkCommandSent(t.Context(), id, c.Attempt, at), nil)
}

func commandIDs(list []store.Command) (ids []string) {
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestEndOfAStreamFailsItsCommand(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		other := w.commandAt(t, storetest.Now(), 0)
		for _, accepted := range []bool{false, true} {
			cmd := w.command()
			s, err := db.RequestStream(t.Context(), w.stream(), cmd, w.by)
			wantErr(t, err, nil)
			before, after, errText := store.CommandQueued, store.CommandFailed, "stream_ended"
			if accepted { // which answers it
				w.accept(t, s.ID)
				before, after, errText = store.CommandAcknowledged, store.CommandAcknowledged, ""
			}
			w.wantCommand(t, cmd.ID, before, "")
			w.end(t, s.ID)
			w.wantCommand(t, cmd.ID, after, errText)
		}
		w.wantCommand(t, other.ID, store.CommandQueued, "")

		answered := w.command()
		s, err := db.RequestStream(t.Context(), w.stream(), answered, w.by)
		wantErr(t, err, nil)
		_, err = db.AckCommand(t.Context(), w.camera.ID, answered.ID, store.CommandAcknowledged, nil, "", storetest.Now(), w.by)
		wantErr(t, err, nil)
		w.end(t, s.ID)
		w.wantCommand(t, answered.ID, store.CommandAcknowledged, "")
	})
}

func TestCommandsNeedALink(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		other := w
		other.client = storetest.Client(t, db, w.user.ID)
		pending, stays := w.commandAt(t, storetest.Now(), 0), other.commandAt(t, storetest.Now(), 0)
		l, err := db.ActiveLink(ctx, w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		wantErr(t, db.RevokeLink(ctx, w.user.ID, l.ID, w.by), nil)
		w.wantCommand(t, pending.ID, store.CommandFailed, "link_revoked")
		w.wantCommand(t, stays.ID, store.CommandQueued, "")
		wantErr(t, db.CreateCommand(ctx, w.command(), w.by), store.ErrNotFound)

		back := w.command()
		back.SourceDeviceID, back.TargetDeviceID = w.camera.ID, other.client.ID
		wantErr(t, db.CreateCommand(ctx, back, w.by), store.ErrNotFound)

		role := store.RoleCamera
		_, err = db.UpdateDevice(ctx, w.user.ID, other.client.ID, store.DeviceChange{Role: &role}, w.by)
		wantErr(t, err, nil)
		w.wantCommand(t, stays.ID, store.CommandFailed, "link_revoked")

		third := w
		third.client = storetest.Client(t, db, w.user.ID)
		orphan := third.commandAt(t, storetest.Now(), 0)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, third.client.ID, w.by), nil)
		w.wantCommand(t, orphan.ID, store.CommandFailed, "device_deleted")
	})
}

// TestCommandsAreNotCreatedBesideARevocation creates commands while their link
// is revoked: none may be pending afterwards.
func TestCommandsAreNotCreatedBesideARevocation(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		l, err := db.ActiveLink(ctx, w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for db.CreateCommand(ctx, w.command(), w.by) == nil { //nolint:revive // until the link is gone
				}
			})
		}
		wantErr(t, db.RevokeLink(ctx, w.user.ID, l.ID, w.by), nil)
		wg.Wait()
		pending, err := db.ClaimPendingCommands(ctx, w.camera.ID, 10, storetest.Now())
		wantErr(t, err, nil)
		want(t, "pending commands over a revoked link", pending, nil)
	})
}

func TestPendingCommandsBeginWithTheUnsent(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		var ids []string
		for i := range 4 {
			ids = append(ids, w.commandAt(t, at, time.Duration(10-i)*time.Second).ID)
		}
		pending := func() []string {
			t.Helper()
			list, err := db.ClaimPendingCommands(ctx, w.camera.ID, 2, at)
			wantErr(t, err, nil)
			return commandIDs(list)
		}
		want(t, "oldest", pending(), ids[:2])
		w.sent(t, ids[0], at)
		w.sent(t, ids[1], at.Add(time.Second))
		want(t, "never sent", pending(), ids[2:])
		w.sent(t, ids[3], at.Add(2*time.Second))
		want(t, "never sent and sent first", pending(), []string{ids[0], ids[2]})
	})
}

func TestClaimCommands(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w, offline := newWorld(t, db), newWorld(t, db)
		wantErr(t, db.SetPresence(ctx, offline.camera.ID, store.DeviceOffline, at), nil)
		claim := func(c store.CommandClaim) []string {
			t.Helper()
			list, err := db.ClaimCommands(ctx, c)
			wantErr(t, err, nil)
			return commandIDs(list)
		}
		all := func(at time.Time) store.CommandClaim {
			return store.CommandClaim{At: at, Before: at.Add(-10 * time.Second), Retries: 1, PerDevice: 10, Limit: 10}
		}
		sent, queued, fresh := w.commandAt(t, at, 40*time.Second), w.commandAt(t, at, 30*time.Second), w.commandAt(t, at, 0)
		waits, lost := offline.commandAt(t, at, 50*time.Second), offline.commandAt(t, at, 20*time.Second)
		w.sent(t, sent.ID, at.Add(-20*time.Second))
		offline.sent(t, lost.ID, at.Add(-20*time.Second))
		want(t, "claimed", claim(all(at)), []string{sent.ID, queued.ID})
		want(t, "claimed twice", claim(all(at)), nil)
		wantErr(t, db.SetPresence(ctx, offline.camera.ID, store.DeviceOnline, at), nil)
		want(t, "claimed when online", claim(all(at)), []string{waits.ID, lost.ID})

		w.sent(t, sent.ID, at) // a retry
		later := all(at.Add(time.Minute))
		later.PerDevice = 1
		got := claim(later)
		slices.Sort(got)
		one := []string{queued.ID, waits.ID}
		slices.Sort(one)
		want(t, "one of each device, least recently touched first", got, one)
		later.Limit = 1
		want(t, "one in all", claim(later), []string{fresh.ID})
	})
}

// TestLateAttemptDoesNotCount has a process that stood still while others took
// its command over.
func TestLateAttemptDoesNotCount(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		made := w.commandAt(t, at, time.Minute)
		claim := func(at time.Time) store.Command {
			t.Helper()
			list, err := db.ClaimCommands(ctx, store.CommandClaim{
				At: at, Before: at.Add(-10 * time.Second), Retries: 3, PerDevice: 10, Limit: 10,
			})
			wantErr(t, err, nil)
			want(t, "claimed", commandIDs(list), []string{made.ID})
			return list[0]
		}
		first := claim(at)
		second := claim(at.Add(11 * time.Second)) // the first has died, or stands still
		wantErr(t, db.MarkCommandSent(ctx, made.ID, made.Attempt, at), store.ErrConflict)
		wantErr(t, db.MarkCommandSent(ctx, made.ID, first.Attempt, at), store.ErrConflict)
		wantErr(t, db.MarkCommandSent(ctx, made.ID, second.Attempt, at.Add(11*time.Second)), nil)
		w.wantCommand(t, made.ID, store.CommandSent, "")
		connected, err := db.ClaimPendingCommands(ctx, w.camera.ID, 10, at)
		wantErr(t, err, nil)
		want(t, "the camera's when it connects", commandIDs(connected), []string{made.ID})
		wantErr(t, db.MarkCommandSent(ctx, made.ID, second.Attempt, at), store.ErrConflict)
	})
}

func TestCancelCommand(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w, stranger := newWorld(t, db), newWorld(t, db)
		c := w.commandAt(t, at, 0)
		_, err := db.CancelCommand(ctx, stranger.user.ID, c.ID, at, stranger.by)
		wantErr(t, err, store.ErrNotFound)
		got, err := db.CancelCommand(ctx, w.user.ID, c.ID, at, w.by)
		wantErr(t, err, nil)
		want(t, "status", got.Status, store.CommandFailed)
		w.wantCommand(t, c.ID, store.CommandFailed, "cancelled")
		_, err = db.CancelCommand(ctx, w.user.ID, c.ID, at, w.by)
		wantErr(t, err, store.ErrConflict)
		_, err = db.AckCommand(ctx, w.camera.ID, c.ID, store.CommandAcknowledged, nil, "", at, w.by)
		wantErr(t, err, store.ErrConflict)
		wantErr(t, db.MarkCommandSent(ctx, c.ID, c.Attempt, at), store.ErrConflict)
	})
}

// TestClaimsAreExclusive lets many processes claim at once.
func TestClaimsAreExclusive(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		at := storetest.Now()
		w := newWorld(t, db)
		for range 20 {
			w.commandAt(t, at, time.Minute)
		}
		var mu sync.Mutex
		claimed := map[string]int{}
		atOnce(t, 8, func(int) error {
			list, err := db.ClaimCommands(t.Context(), store.CommandClaim{
				At: at, Before: at.Add(-time.Second), Retries: 3, PerDevice: 50, Limit: 50,
			})
			mu.Lock()
			defer mu.Unlock()
			for _, c := range list {
				claimed[c.ID]++
			}
			return err
		})
		want(t, "claimed commands", len(claimed), 20)
		for id, n := range claimed {
			want(t, "claims of "+id, n, 1)
		}
	})
}

func TestExpireCommands(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		old, unanswered, retried := w.commandAt(t, at, time.Hour), w.commandAt(t, at, 3*time.Minute), w.commandAt(t, at, 2*time.Minute)
		waits := w.commandAt(t, at, time.Minute)
		for _, c := range []store.Command{old, unanswered, unanswered, retried, retried} {
			w.sent(t, c.ID, at.Add(-30*time.Second))
		}
		w.sent(t, retried.ID, at)
		e := store.CommandExpiry{
			At: at, SentBefore: at.Add(-10 * time.Second), Retries: 1, CreatedBefore: at.Add(-10 * time.Minute), Limit: 1,
		}
		for _, expected := range []struct {
			id, err string
		}{{old.ID, "expired"}, {unanswered.ID, "unanswered"}} {
			list, err := db.ExpireCommands(ctx, e)
			wantErr(t, err, nil)
			want(t, "expired", commandIDs(list), []string{expected.id})
			w.wantCommand(t, expected.id, store.CommandFailed, expected.err)
		}
		list, err := db.ExpireCommands(ctx, e)
		wantErr(t, err, nil)
		want(t, "expired again", list, nil)
		w.wantCommand(t, retried.ID, store.CommandSent, "")
		w.wantCommand(t, waits.ID, store.CommandQueued, "")
		_, err = db.AckCommand(ctx, w.camera.ID, old.ID, store.CommandAcknowledged, nil, "", at, w.by)
		wantErr(t, err, store.ErrConflict)
		wantCount(t, db, 2, `SELECT COUNT(*) FROM audit_logs WHERE action = 'command.fail'`)
	})
}
