package store_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func (w world) push(t *testing.T) store.Push {
	t.Helper()
	p, err := w.db.QueuePush(t.Context(), store.Push{
		OwnerUserID: w.user.ID, RecipientDeviceID: w.client.ID, Type: "test", Payload: json.RawMessage(`{}`),
		CreatedAt: storetest.Now(),
	}, "", w.by)
	wantErr(t, err, nil)
	return p
}

func claimPushes(t *testing.T, db *store.DB, at time.Time, lease time.Duration) []store.Push {
	t.Helper()
	claimed, err := db.ClaimPushes(t.Context(), store.Claim{At: at, Until: at.Add(lease), Limit: 100})
	wantErr(t, err, nil)
	return claimed
}

func TestPushQueue(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		p := w.push(t)
		at := p.CreatedAt
		claimed := claimPushes(t, db, at, time.Minute)
		want(t, "claimed", len(claimed), 1)
		want(t, "attempt", claimed[0].Attempts, 1)
		want(t, "taken", len(claimPushes(t, db, at, time.Minute)), 0)
		hastened, err := db.HastenPushes(ctx, w.user.ID, "", at)
		wantErr(t, err, nil)
		want(t, "being sent", hastened, int64(0))

		// The worker dies; its lease ends, and another takes it.
		late := at.Add(2 * time.Minute)
		again := claimPushes(t, db, late, time.Minute)
		want(t, "given back", len(again), 1)
		want(t, "attempt", again[0].Attempts, 2)
		sent := store.Outcome{Status: store.WorkSent, At: late}
		wantErr(t, db.SettlePush(ctx, p.ID, 1, sent), store.ErrConflict) // the first one lives after all
		wantErr(t, db.SettlePush(ctx, p.ID, 2, store.Outcome{
			Status: store.WorkQueued, Error: "unreachable", NextAttemptAt: late.Add(time.Hour), At: late,
		}), nil)
		want(t, "waits", len(claimPushes(t, db, late, time.Minute)), 0)
		hastened, err = db.HastenPushes(ctx, w.user.ID, w.client.ID, late)
		wantErr(t, err, nil)
		want(t, "hastened", hastened, int64(1))
		want(t, "due", len(claimPushes(t, db, late, time.Minute)), 1)
		wantErr(t, second(db.RetryPush(ctx, w.user.ID, "", p.ID, late, w.by)), store.ErrConflict)
		wantErr(t, db.SettlePush(ctx, p.ID, 3, store.Outcome{Status: store.WorkFailed, Error: "refused:400", At: late}), nil)
		want(t, "audited", w.actions(t)["push_notification.fail"], 1)

		dead, err := db.Pushes(ctx, w.user.ID, store.PushFilter{Status: store.WorkFailed}, store.Page{})
		wantErr(t, err, nil)
		want(t, "dead letters", len(dead), 1)
		want(t, "why", dead[0].Error, "refused:400")
		stats, err := db.PushStats(ctx)
		wantErr(t, err, nil)
		want(t, "stats", stats, store.QueueStats{Failed: 1})
		wantErr(t, second(db.RetryPush(ctx, w.user.ID, w.camera.ID, p.ID, late, w.by)), store.ErrNotFound)
		retried, err := db.RetryPush(ctx, w.user.ID, w.client.ID, p.ID, late, w.by)
		wantErr(t, err, nil)
		want(t, "as if new", retried.Attempts, 0)
		stats, err = db.PushStats(ctx)
		wantErr(t, err, nil)
		want(t, "stats", stats, store.QueueStats{Queued: 1, Oldest: p.CreatedAt})
		want(t, "due again", len(claimPushes(t, db, late, time.Minute)), 1)
		wantErr(t, db.SettlePush(ctx, p.ID, 1, sent), store.ErrConflict) // the first one, again
		wantErr(t, db.SettlePush(ctx, p.ID, 4, sent), nil)
		kept, err := db.PrunePushes(ctx, late, 10)
		wantErr(t, err, nil)
		want(t, "kept", kept, int64(0))
		pruned, err := db.PrunePushes(ctx, late.Add(time.Second), 10)
		wantErr(t, err, nil)
		want(t, "pruned", pruned, int64(1))
	})
}

// TestClaimOnce has workers of several processes take what is due, all at once.
func TestClaimOnce(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		dbs := []*store.DB{openURL(t, databaseURL), openURL(t, databaseURL), openURL(t, databaseURL)}
		wantErr(t, dbs[0].Migrate(t.Context()), nil)
		w := newWorld(t, dbs[0])
		hook := w.webhook()
		wantErr(t, dbs[0].CreateWebhook(t.Context(), hook, 9, w.by), nil)
		const count = 60
		for range count {
			w.push(t)
			wantErr(t, dbs[0].QueueMessage(t.Context(), w.user.ID, message("x"), storetest.Now()), nil)
		}
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			taken = map[string]int{}
		)
		at := storetest.Now().Add(time.Second)
		for i := range 9 {
			wg.Go(func() {
				c := store.Claim{At: at, Until: at.Add(time.Hour), Limit: 7}
				for {
					pushes, err := dbs[i%3].ClaimPushes(t.Context(), c)
					wantErr(t, err, nil)
					deliveries, err := dbs[i%3].ClaimDeliveries(t.Context(), c)
					wantErr(t, err, nil)
					mu.Lock()
					for _, p := range pushes {
						taken[p.ID]++
						wantErr(t, dbs[i%3].SettlePush(t.Context(), p.ID, 1, store.Outcome{Status: store.WorkSent, At: at}), nil)
					}
					for _, d := range deliveries {
						taken[d.ID]++
						o := store.DeliveryOutcome{Outcome: store.Outcome{Status: store.WorkSent, At: at}}
						wantErr(t, dbs[i%3].SettleDelivery(t.Context(), d.ID, 1, o), nil)
					}
					done := len(taken) == 2*count
					mu.Unlock()
					if done || t.Failed() {
						return
					}
				}
			})
		}
		wg.Wait()
		want(t, "taken", len(taken), 2*count)
		for id, n := range taken {
			want(t, "times that "+id+" was taken", n, 1)
		}
	})
}

// TestClaimIsFair has one user with far more to send than others, who come
// later.
func TestClaimIsFair(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		busy, others := newWorld(t, db), []world{newWorld(t, db), newWorld(t, db)}
		var hooks []string
		hook := func(w world) {
			h := w.webhook()
			wantErr(t, db.CreateWebhook(ctx, h, 9, w.by), nil)
			hooks = append(hooks, h.ID)
		}
		for range 3 {
			hook(busy)
		}
		at := storetest.Now()
		for range 20 { // for each of the three
			wantErr(t, db.QueueMessage(ctx, busy.user.ID, message("x"), at), nil)
		}
		claim := func(limit int) map[string]int {
			t.Helper()
			claimed, err := db.ClaimDeliveries(ctx, store.Claim{At: at.Add(time.Second), Until: at.Add(time.Minute), Limit: limit})
			wantErr(t, err, nil)
			by := map[string]int{"": len(claimed)}
			for _, d := range claimed {
				by[d.UserID]++
				by[d.WebhookID]++
			}
			return by
		}
		first := claim(3)
		for _, id := range hooks {
			want(t, "first turn of a webhook", first[id], 1)
		}
		want(t, "up to the user's share", claim(100)[busy.user.ID], 1)
		want(t, "beyond it", claim(100)[""], 0)
		for _, w := range others {
			hook(w)
			for range 3 {
				wantErr(t, db.QueueMessage(ctx, w.user.ID, message("x"), at.Add(time.Millisecond)), nil)
			}
		}
		next := claim(2)
		for _, w := range others {
			want(t, "others' turn", next[w.user.ID], 1)
		}
		want(t, "up to the share of a recipient", claim(100)[""], 2)
		late := at.Add(2 * time.Minute) // every lease has ended
		claimed, err := db.ClaimDeliveries(ctx, store.Claim{At: late, Until: late.Add(time.Minute), Limit: 100})
		wantErr(t, err, nil)
		want(t, "after the leases", len(claimed), 8)
	})
}

func TestWebhookRows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		hook := w.webhook()
		wantErr(t, db.CreateWebhook(ctx, hook, 9, w.by), nil)
		at := storetest.Now()
		off := false
		changed, err := db.UpdateWebhook(ctx, w.user.ID, hook.ID, store.WebhookChange{Enabled: &off}, at, w.by)
		wantErr(t, err, nil)
		want(t, "disabled", changed.Enabled, false)
		wantErr(t, db.QueueMessage(ctx, w.user.ID, message("x"), at), nil)
		list := func() []store.Delivery {
			log, err := db.Deliveries(ctx, w.user.ID, store.DeliveryFilter{WebhookID: hook.ID}, store.Page{})
			wantErr(t, err, nil)
			return log
		}
		want(t, "sent to a disabled one", len(list()), 0)
		on := true
		_, err = db.UpdateWebhook(ctx, w.user.ID, hook.ID, store.WebhookChange{Enabled: &on}, at, w.by)
		wantErr(t, err, nil)
		keyed := message("x")
		keyed.Key = "stream-1 ended"
		for range 3 {
			wantErr(t, db.QueueMessage(ctx, w.user.ID, keyed, at), nil)
		}
		want(t, "once for a key", len(list()), 1)
		wantErr(t, db.DisableWebhook(ctx, hook.ID, "gone", at), nil)
		want(t, "failed with it", list()[0].Status, store.WorkFailed)
		got, err := db.Webhook(ctx, w.user.ID, hook.ID)
		wantErr(t, err, nil)
		want(t, "reason", got.DisabledReason, "gone")
		wantErr(t, db.DeleteWebhook(ctx, w.user.ID, hook.ID, w.by), nil)
		want(t, "log after the webhook", len(list()), 0)
	})
}

func TestPushSubscriptions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w, other := newWorld(t, db), newWorld(t, db)
		subscribe := func(w world, device, endpoint string) {
			t.Helper()
			wantErr(t, db.SetPushSubscription(ctx, store.PushSubscription{
				DeviceID: device, UserID: w.user.ID, Endpoint: endpoint, P256dh: "p", AuthSecret: "a", CreatedAt: storetest.Now(),
			}, w.by), nil)
		}
		subscribe(w, w.client.ID, "https://push.example/1")
		subscribe(w, w.client.ID, "https://push.example/2")
		got, err := db.PushSubscription(ctx, w.user.ID, w.client.ID)
		wantErr(t, err, nil)
		want(t, "endpoint", got.Endpoint, "https://push.example/2")
		subscribe(other, other.client.ID, "https://push.example/2") // somebody else signs in in that browser
		wantErr(t, second(db.PushSubscription(ctx, w.user.ID, w.client.ID)), store.ErrNotFound)
		wantErr(t, db.ForgetPushEndpoint(ctx, "https://push.example/2"), nil)
		wantErr(t, db.ForgetPushEndpoint(ctx, "https://push.example/2"), nil)
		wantErr(t, second(db.PushSubscription(ctx, other.user.ID, other.client.ID)), store.ErrNotFound)
		subscribe(w, w.client.ID, "https://push.example/3")
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.client.ID, w.by), nil)
		wantErr(t, second(db.PushSubscription(ctx, w.user.ID, w.client.ID)), store.ErrNotFound)
	})
}
