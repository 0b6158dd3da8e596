package store_test

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// jobRow is a row of a queue, whichever.
type jobRow struct {
	id       string
	status   store.WorkStatus
	attempts int
	claim    int64
	err      string
	next     time.Time
}

// jobQueue is one of the queues, with what the model does to it.
type jobQueue struct {
	add    func(t *testing.T, owner, recipient int, at time.Time) string
	claim  func(t *testing.T, c store.Claim) ([]jobRow, error)
	settle func(t *testing.T, id string, claim int64, o store.Outcome) error
	retry  func(t *testing.T, owner int, id string, at time.Time) error
	hasten func(t *testing.T, owner int, at time.Time) (bool, error) // unless the queue has no such thing
	remove func(t *testing.T, owner int, id string) error
	rows   func(t *testing.T, owner int) []jobRow
}

// Two users, each with more recipients than workers may hold messages for.
const (
	queueOwners     = 2
	queueRecipients = 3
)

func pushesOf(db *store.DB, worlds []world, clients [][]store.Device) jobQueue {
	row := func(p store.Push) jobRow {
		return jobRow{p.ID, p.Status, p.Attempts, p.Claim, p.Error, p.NextAttemptAt}
	}
	return jobQueue{
		add: func(t *testing.T, owner, recipient int, at time.Time) string {
			p, err := db.QueuePush(t.Context(), store.Push{
				OwnerUserID: worlds[owner].user.ID, RecipientDeviceID: clients[owner][recipient].ID, Type: "test",
				Payload: []byte(`{}`), CreatedAt: at,
			}, "", worlds[owner].by)
			wantErr(t, err, nil)
			return p.ID
		},
		claim: func(t *testing.T, c store.Claim) (rows []jobRow, err error) {
			claimed, err := db.ClaimPushes(t.Context(), c)
			for _, p := range claimed {
				rows = append(rows, row(p))
			}
			return rows, err
		},
		settle: func(t *testing.T, id string, claim int64, o store.Outcome) error {
			return db.SettlePush(t.Context(), id, claim, o)
		},
		retry: func(t *testing.T, owner int, id string, at time.Time) error {
			return second(db.RetryPush(t.Context(), worlds[owner].user.ID, "", id, at, worlds[owner].by))
		},
		hasten: func(t *testing.T, owner int, at time.Time) (bool, error) {
			return true, second(db.HastenPushes(t.Context(), worlds[owner].user.ID, "", at))
		},
		remove: func(t *testing.T, owner int, id string) error {
			return db.DeletePush(t.Context(), worlds[owner].user.ID, "", id, worlds[owner].by)
		},
		rows: func(t *testing.T, owner int) (rows []jobRow) {
			all, err := db.Pushes(t.Context(), worlds[owner].user.ID, store.PushFilter{}, store.Page{Limit: 1000})
			wantErr(t, err, nil)
			for _, p := range all {
				rows = append(rows, row(p))
			}
			return rows
		},
	}
}

func deliveriesOf(db *store.DB, worlds []world, hooks [][]store.Webhook) jobQueue {
	row := func(d store.Delivery) jobRow {
		return jobRow{d.ID, d.Status, d.Attempts, d.Claim, d.Error, d.NextAttemptAt}
	}
	return jobQueue{
		add: func(t *testing.T, owner, recipient int, at time.Time) string {
			d := store.Delivery{
				ID: storetest.ID(), UserID: worlds[owner].user.ID, WebhookID: hooks[owner][recipient].ID, MessageID: storetest.ID(),
				Type: "test", Payload: []byte(`{}`), CreatedAt: at,
			}
			wantErr(t, db.QueueDelivery(t.Context(), d, worlds[owner].by), nil)
			return d.ID
		},
		claim: func(t *testing.T, c store.Claim) (rows []jobRow, err error) {
			claimed, err := db.ClaimDeliveries(t.Context(), c)
			for _, d := range claimed {
				rows = append(rows, row(d))
			}
			return rows, err
		},
		settle: func(t *testing.T, id string, claim int64, o store.Outcome) error {
			return db.SettleDelivery(t.Context(), id, claim, store.DeliveryOutcome{Outcome: o})
		},
		retry: func(t *testing.T, owner int, id string, at time.Time) error {
			return second(db.RetryDelivery(t.Context(), worlds[owner].user.ID, id, at, worlds[owner].by))
		},
		hasten: func(*testing.T, int, time.Time) (bool, error) { return false, nil },
		remove: func(t *testing.T, owner int, id string) error {
			return db.DeleteDelivery(t.Context(), worlds[owner].user.ID, id, worlds[owner].by)
		},
		rows: func(t *testing.T, owner int) (rows []jobRow) {
			all, err := db.Deliveries(t.Context(), worlds[owner].user.ID, store.DeliveryFilter{}, store.Page{Limit: 1000})
			wantErr(t, err, nil)
			for _, d := range all {
				rows = append(rows, row(d))
			}
			return rows
		},
	}
}

// queueModel is what a queue must be, in memory.
type queueModel struct {
	t     *testing.T
	queue jobQueue
	now   time.Time
	jobs  map[string]*modelJob
	held  []heldJob // by workers, of which some are dead, and some have stood still for long
}

type modelJob struct {
	jobRow

	owner, recipient int
	leased           bool
}

type heldJob struct {
	id    string
	claim int64
}

func (j *modelJob) isDue(now time.Time) bool {
	return j.status == store.WorkQueued && !j.next.After(now)
}

// lease is how long a worker has; of the model, in which time is drawn.
const modelLease = time.Minute

func (m *queueModel) add(t *rapid.T) {
	owner, recipient := rapid.IntRange(0, queueOwners-1).Draw(t, "owner"), rapid.IntRange(0, queueRecipients-1).Draw(t, "recipient")
	for range rapid.IntRange(1, 4).Draw(t, "count") {
		j := &modelJob{owner: owner, recipient: recipient}
		j.id = m.queue.add(m.t, owner, recipient, m.now)
		j.status, j.next = store.WorkQueued, m.now
		m.jobs[j.id] = j
	}
}

// leased counts what of a user's, and of one of the recipients, is with workers.
func (m *queueModel) leased(owner, recipient int) (ofOwner, ofRecipient int) {
	for _, j := range m.jobs {
		if j.owner == owner && j.leased && j.next.After(m.now) {
			ofOwner++
			if j.recipient == recipient {
				ofRecipient++
			}
		}
	}
	return ofOwner, ofRecipient
}

// due are a recipient's jobs that wait, in the order in which they must go out.
func (m *queueModel) due(owner, recipient int) (list []*modelJob) {
	for _, j := range m.jobs {
		if j.owner == owner && j.recipient == recipient && j.isDue(m.now) {
			list = append(list, j)
		}
	}
	slices.SortFunc(list, func(a, b *modelJob) int { return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.id, b.id)) })
	return list
}

// claim has a worker take jobs: those that are due, of each recipient the ones
// that have waited for longest, no more than the shares of user and recipient
// allow, as many as these allow, and nobody's second before everybody's first.
func (m *queueModel) claim(t *rapid.T) {
	limit := rapid.IntRange(1, 9).Draw(t, "limit")
	var (
		candidates [queueOwners]int // that may be taken
		leased     [queueOwners]int
		next       = map[[2]int][]*modelJob{} // of a recipient, in order
		all        int
	)
	for owner := range queueOwners {
		for recipient := range queueRecipients {
			ofOwner, ofRecipient := m.leased(owner, recipient)
			due := m.due(owner, recipient)
			next[[2]int{owner, recipient}] = due
			leased[owner] = ofOwner
			candidates[owner] += min(len(due), max(0, 2-ofRecipient))
		}
		candidates[owner] = min(candidates[owner], max(0, 4-leased[owner]))
		all += candidates[owner]
	}
	claimed, err := m.queue.claim(m.t, store.Claim{At: m.now, Until: m.now.Add(modelLease), Limit: limit})
	mustBe(t, err, nil)
	mustBe(t, len(claimed), min(limit, all))
	var taken [queueOwners]int
	byRecipient := map[[2]int]map[string]bool{}
	for _, c := range claimed {
		j := m.jobs[c.id]
		if j == nil || !j.isDue(m.now) {
			t.Fatalf("claimed %s, which is not due: %+v", c.id, j)
		}
		taken[j.owner]++
		at := [2]int{j.owner, j.recipient}
		if byRecipient[at] == nil {
			byRecipient[at] = map[string]bool{}
		}
		byRecipient[at][c.id] = true
	}
	for at, ids := range byRecipient {
		for _, j := range next[at][:len(ids)] {
			if !ids[j.id] {
				t.Fatalf("of recipient %v, %s waits for longer than what was claimed", at, j.id)
			}
		}
	}
	for a := range queueOwners {
		for b := range queueOwners {
			if taken[a] > 0 && candidates[b] > taken[b] && leased[a]+taken[a] > leased[b]+taken[b]+1 {
				t.Fatalf("user %d has %d+%d with workers while user %d waits with %d+%d", a, leased[a], taken[a], b, leased[b], taken[b])
			}
		}
	}
	for _, c := range claimed {
		j := m.jobs[c.id]
		j.attempts, j.claim, j.next, j.leased = j.attempts+1, c.claim, m.now.Add(modelLease), true
		for _, h := range m.held {
			if h.id == c.id && h.claim == c.claim {
				t.Fatalf("claim %d of %s was given out twice", c.claim, c.id)
			}
		}
		m.held = append(m.held, heldJob{c.id, c.claim})
	}
}

// settle has a worker write down how its attempt ended: also one that has
// settled it already, or whose lease has ended.
func (m *queueModel) settle(t *rapid.T) {
	if len(m.held) == 0 {
		return
	}
	h := rapid.SampledFrom(m.held).Draw(t, "held")
	o := store.Outcome{
		Status: rapid.SampledFrom([]store.WorkStatus{store.WorkSent, store.WorkQueued, store.WorkFailed}).Draw(t, "outcome"), At: m.now,
	}
	if o.Status != store.WorkSent {
		o.Error = "refused"
	}
	if o.Status == store.WorkQueued {
		o.NextAttemptAt = m.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "pause")) * time.Second)
	}
	err := m.queue.settle(m.t, h.id, h.claim, o)
	j := m.jobs[h.id]
	if j == nil || j.status != store.WorkQueued || j.claim != h.claim {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	j.status, j.err, j.next, j.leased = o.Status, o.Error, o.NextAttemptAt, false
}

// pick draws a job; there is at least one.
func (m *queueModel) pick(t *rapid.T) *modelJob {
	if len(m.jobs) == 0 {
		t.Skip("no job yet")
	}
	return m.jobs[rapid.SampledFrom(slices.Sorted(maps.Keys(m.jobs))).Draw(t, "job")]
}

// retry queues a dead letter again, as if it were new.
func (m *queueModel) retry(t *rapid.T) {
	j := m.pick(t)
	err := m.queue.retry(m.t, j.owner, j.id, m.now)
	if j.status != store.WorkFailed {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	j.status, j.attempts, j.next = store.WorkQueued, 0, m.now
}

// hasten makes what waits due, but not what is with a worker.
func (m *queueModel) hasten(t *rapid.T) {
	owner := rapid.IntRange(0, queueOwners-1).Draw(t, "owner")
	done, err := m.queue.hasten(m.t, owner, m.now)
	mustBe(t, err, nil)
	for _, j := range m.jobs {
		if done && j.owner == owner && j.status == store.WorkQueued && !j.leased && j.next.After(m.now) {
			j.next = m.now
		}
	}
}

func (m *queueModel) remove(t *rapid.T) {
	j := m.pick(t)
	mustBe(t, m.queue.remove(m.t, j.owner, j.id), nil)
	delete(m.jobs, j.id)
	if err := m.queue.remove(m.t, j.owner, j.id); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("removed twice: %v", err)
	}
}

func (m *queueModel) pass(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
}

// check compares every row with the model.
func (m *queueModel) check(t *rapid.T) {
	seen := 0
	for owner := range queueOwners {
		for _, row := range m.queue.rows(m.t, owner) {
			j := m.jobs[row.id]
			if j == nil || j.owner != owner {
				t.Fatalf("%s is not user %d's", row.id, owner)
			}
			seen++
			mustBe(t, row.status, j.status)
			mustBe(t, row.attempts, j.attempts)
			mustBe(t, row.claim, j.claim)
			mustBe(t, row.err, j.err)
			if j.status == store.WorkQueued && !row.next.Equal(j.next) {
				t.Fatalf("%s is due at %v, want %v", j.id, row.next, j.next)
			}
		}
	}
	mustBe(t, seen, len(m.jobs))
}

// TestQueueStateMachines does to the queues of pushes and of webhooks, in any
// order, what workers and users do, of which workers some die in the middle and
// some come back long after their lease:
//
//   - a job is with one worker at a time, and comes back when its lease ends;
//   - only whoever claimed it last can settle it, once, and no claim is ever
//     given out twice, also not after the job was a dead letter and began anew;
//   - nothing is lost: a job that is not settled is due again, and a dead letter
//     stays until it is sent again or deleted;
//   - shares of users and recipients are kept, and used up.
func TestQueueStateMachines(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var (
			worlds  []world
			clients [][]store.Device
			hooks   [][]store.Webhook
		)
		for owner := range queueOwners {
			w := newWorld(t, db)
			worlds = append(worlds, w)
			clients, hooks = append(clients, nil), append(hooks, nil)
			for range queueRecipients {
				clients[owner] = append(clients[owner], storetest.Client(t, db, w.user.ID))
				hook := w.webhook()
				wantErr(t, db.CreateWebhook(t.Context(), hook, 9, w.by), nil)
				hooks[owner] = append(hooks[owner], hook)
			}
		}
		run := func(rt *rapid.T, q jobQueue) {
			m := &queueModel{t: t, queue: q, now: storetest.Now(), jobs: map[string]*modelJob{}}
			defer func() { // a claim takes everybody's
				for _, j := range m.jobs {
					wantErr(t, q.remove(t, j.owner, j.id), nil)
				}
			}()
			rt.Repeat(map[string]func(*rapid.T){
				"add": m.add, "claim": m.claim, "settle": m.settle, "retry": m.retry, "hasten": m.hasten, "remove": m.remove,
				"pass": m.pass, "": m.check,
			})
		}
		rapid.Check(t, func(rt *rapid.T) { run(rt, pushesOf(db, worlds, clients)) })
		rapid.Check(t, func(rt *rapid.T) { run(rt, deliveriesOf(db, worlds, hooks)) })
	})
}
