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

// commandModel is what the commands of one camera must be, in memory.
type commandModel struct {
	t        *testing.T
	world    world
	clients  []store.Device
	links    []string // of the clients
	linked   []bool
	now      time.Time
	online   bool
	commands map[string]*modelCommand
	held     []heldCommand // by whoever set out to deliver one, and may be dead or late
	told     map[string]int
}

type modelCommand struct {
	id      string
	client  int
	status  store.CommandStatus
	err     string
	retries int
	attempt int64
	created time.Time
	queued  time.Time // for the last time
	updated time.Time
	sent    time.Time // zero: not since it was queued
}

type heldCommand struct {
	id      string
	attempt int64
}

// The rules that the product goes by.
const (
	commandRetries  = 3
	commandPause    = 10 * time.Second // before the first retry
	commandAgain    = 5 * time.Second  // between others
	commandDeadline = 10 * time.Minute
)

func (c *modelCommand) isPending() bool {
	return c.status == store.CommandQueued || c.status == store.CommandSent
}

func (c *modelCommand) isDead() bool {
	return c.status == store.CommandFailed && (c.err == "unanswered" || c.err == "expired")
}

func (c *modelCommand) fail(why string, at time.Time) {
	c.status, c.err, c.updated = store.CommandFailed, why, at
}

// sorted are the commands that a condition selects, in an order of its own.
func (m *commandModel) sorted(which func(*modelCommand) bool, key func(*modelCommand) time.Time) (list []*modelCommand) {
	for _, c := range m.commands {
		if which(c) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *modelCommand) int {
		return cmp.Or(key(a).Compare(key(b)), a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
	return list
}

func createdAt(c *modelCommand) time.Time { return c.created }

func (m *commandModel) pick(t *rapid.T) *modelCommand {
	if len(m.commands) == 0 {
		t.Skip("no command yet")
	}
	return m.commands[rapid.SampledFrom(slices.Sorted(maps.Keys(m.commands))).Draw(t, "command")]
}

func (m *commandModel) create(t *rapid.T) {
	client := rapid.IntRange(0, len(m.clients)-1).Draw(t, "client")
	row := m.world.command()
	row.SourceDeviceID, row.CreatedAt, row.UpdatedAt = m.clients[client].ID, m.now, m.now
	err := m.world.db.CreateCommand(m.t.Context(), row, m.world.by)
	if !m.linked[client] {
		mustNotFind(t, err)
		return
	}
	mustBe(t, err, nil)
	m.commands[row.ID] = &modelCommand{
		id: row.ID, client: client, status: store.CommandQueued, created: m.now, queued: m.now, updated: m.now,
	}
	m.held = append(m.held, heldCommand{row.ID, 0}) // who makes it sets out to deliver it
}

// claimed compares what was claimed, which is told oldest first.
func (m *commandModel) claimed(t *rapid.T, rows []store.Command, want []*modelCommand) {
	slices.SortFunc(want, func(a, b *modelCommand) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id)) })
	mustBe(t, len(rows), len(want))
	for i, c := range want {
		mustBe(t, rows[i].ID, c.id)
		c.attempt, c.updated = c.attempt+1, m.now
		mustBe(t, rows[i].Attempt, c.attempt)
		m.held = append(m.held, heldCommand{c.id, c.attempt})
	}
}

// connect is the camera's, with one more connection: what it has not answered
// is its newest connection's to deliver, what was never sent first.
func (m *commandModel) connect(t *rapid.T) {
	m.presence(t, store.DeviceOnline)
	limit := rapid.IntRange(1, 6).Draw(t, "limit")
	rows, err := m.world.db.ClaimPendingCommands(m.t.Context(), m.world.camera.ID, limit, m.now)
	mustBe(t, err, nil)
	want := m.sorted((*modelCommand).isPending, func(c *modelCommand) time.Time { return c.sent })
	m.claimed(t, rows, want[:min(limit, len(want))])
}

func (m *commandModel) presence(t *rapid.T, status store.DeviceStatus) {
	mustBe(t, m.world.db.SetPresence(m.t.Context(), m.world.camera.ID, status, m.now), nil)
	m.online = status == store.DeviceOnline
}

func (m *commandModel) leave(t *rapid.T) { m.presence(t, store.DeviceOffline) }

// retryDue is one look of one of the processes.
func (m *commandModel) retryDue(t *rapid.T) {
	limit := rapid.IntRange(1, 6).Draw(t, "limit")
	rows, err := m.world.db.ClaimCommands(m.t.Context(), store.CommandClaim{
		At: m.now, Before: m.now.Add(-commandPause), AgainBefore: m.now.Add(-commandAgain), Retries: commandRetries,
		PerDevice: 100, Limit: limit,
	})
	mustBe(t, err, nil)
	want := m.sorted(func(c *modelCommand) bool {
		pause := commandPause
		if c.status == store.CommandSent && c.retries > 0 {
			pause = commandAgain
		}
		often := c.status == store.CommandSent && c.retries >= commandRetries
		return m.online && c.isPending() && !often && !c.updated.Add(pause).After(m.now)
	}, func(c *modelCommand) time.Time { return c.updated })
	// Of those that wait since the same moment any may come first.
	slices.SortStableFunc(want, func(a, b *modelCommand) int { return cmp.Or(a.updated.Compare(b.updated), cmp.Compare(a.id, b.id)) })
	m.claimed(t, rows, want[:min(limit, len(want))])
}

// work is a look of a process that lives to deliver what it found.
func (m *commandModel) work(t *rapid.T) {
	m.now = m.now.Add(commandPause)
	before := len(m.held)
	m.retryDue(t)
	for _, h := range m.held[before:] {
		m.mark(t, h)
	}
}

// deliver is the end of somebody's attempt, however late it comes and whether
// it came before.
func (m *commandModel) deliver(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("nobody delivers")
	}
	m.mark(t, rapid.SampledFrom(m.held).Draw(t, "held"))
}

// mark notes a delivery: only the last attempt counts, and not after the answer.
func (m *commandModel) mark(t *rapid.T, h heldCommand) {
	err := m.world.db.MarkCommandSent(m.t.Context(), h.id, h.attempt, m.now)
	c := m.commands[h.id]
	switch {
	case c == nil:
		mustNotFind(t, err)
	case !c.isPending() || c.attempt != h.attempt:
		mustConflict(t, err)
	default:
		mustBe(t, err, nil)
		if c.status == store.CommandSent {
			c.retries++
		}
		c.status, c.sent, c.updated = store.CommandSent, m.now, m.now
	}
}

func (m *commandModel) ack(t *rapid.T) {
	c := m.pick(t)
	to := rapid.SampledFrom([]store.CommandStatus{store.CommandAcknowledged, store.CommandRejected}).Draw(t, "answer")
	by := rapid.SampledFrom([]string{m.world.camera.ID, m.world.camera.ID, m.clients[0].ID}).Draw(t, "by")
	_, err := m.world.db.AckCommand(m.t.Context(), by, c.id, to, nil, "", m.now, m.world.by)
	switch {
	case by != m.world.camera.ID:
		mustNotFind(t, err)
	case !c.isPending():
		mustConflict(t, err)
	default:
		mustBe(t, err, nil)
		c.status, c.updated = to, m.now
		m.told["command.ack"]++
	}
}

func (m *commandModel) cancel(t *rapid.T) {
	c := m.pick(t)
	err := second(m.world.db.CancelCommand(m.t.Context(), m.world.user.ID, c.id, m.now, m.world.by))
	if !c.isPending() {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	c.fail("cancelled", m.now)
	m.told["command.cancel"]++
}

func (m *commandModel) expire(t *rapid.T) {
	rows, err := m.world.db.ExpireCommands(m.t.Context(), store.CommandExpiry{
		At: m.now, SentBefore: m.now.Add(-commandPause), Retries: commandRetries, CreatedBefore: m.now.Add(-commandDeadline), Limit: 100,
	})
	mustBe(t, err, nil)
	old := func(c *modelCommand) bool { return !c.queued.Add(commandDeadline).After(m.now) }
	want := m.sorted(func(c *modelCommand) bool {
		often := c.status == store.CommandSent && c.retries >= commandRetries && !c.sent.Add(commandPause).After(m.now)
		return c.isPending() && (old(c) || often)
	}, createdAt)
	mustBe(t, len(rows), len(want))
	for i, c := range want {
		mustBe(t, rows[i].ID, c.id)
		why := "unanswered"
		if old(c) {
			why = "expired"
		}
		c.fail(why, m.now)
		m.told["command.fail"]++
	}
}

// wait is until nobody answers any more.
func (m *commandModel) wait(t *rapid.T) {
	m.now = m.now.Add(commandDeadline - time.Minute)
	m.pass(t)
	m.expire(t)
}

// revive repeats what was in vain, of what there is.
func (m *commandModel) revive(t *rapid.T) {
	dead := m.sorted((*modelCommand).isDead, createdAt)
	if len(dead) == 0 {
		t.Skip("nothing is dead")
	}
	m.repeat(t, rapid.SampledFrom(dead).Draw(t, "dead"))
}

func (m *commandModel) retry(t *rapid.T) { m.repeat(t, m.pick(t)) }

// repeat is a user's, of a dead letter: it begins anew, and whoever set out to
// deliver it before comes too late.
func (m *commandModel) repeat(t *rapid.T, c *modelCommand) {
	got, err := m.world.db.RetryCommand(m.t.Context(), m.world.user.ID, c.id, m.now, m.world.by)
	switch {
	case !m.linked[c.client]:
		mustNotFind(t, err)
	case !c.isDead():
		mustConflict(t, err)
	default:
		mustBe(t, err, nil)
		c.status, c.err, c.retries, c.attempt = store.CommandQueued, "", 0, c.attempt+1
		c.queued, c.updated, c.sent = m.now, m.now, time.Time{}
		m.held = append(m.held, heldCommand{c.id, got.Attempt})
		m.told["command.retry"]++
	}
}

func (m *commandModel) remove(t *rapid.T) {
	c := m.pick(t)
	err := m.world.db.DeleteCommand(m.t.Context(), m.world.user.ID, c.id, m.world.by)
	if c.isPending() {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	delete(m.commands, c.id)
	m.told["command.delete"]++
}

// end is an answer or what comes in its place.
func (m *commandModel) end(t *rapid.T) {
	switch rapid.SampledFrom([]string{"ack", "cancel", "delete"}).Draw(t, "how") {
	case "ack":
		m.ack(t)
	case "cancel":
		m.cancel(t)
	default:
		m.remove(t)
	}
}

// unlink fails what waits of a client, link lets it begin again.
func (m *commandModel) unlink(t *rapid.T) {
	client := rapid.IntRange(0, len(m.clients)-1).Draw(t, "client")
	err := m.world.db.RevokeLink(m.t.Context(), m.world.user.ID, m.links[client], m.world.by)
	if !m.linked[client] {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	m.linked[client] = false
	for _, c := range m.commands {
		if c.client == client && c.isPending() {
			c.fail("link_revoked", time.Time{}) // at the database's time
		}
	}
}

func (m *commandModel) link(t *rapid.T) {
	client := rapid.IntRange(0, len(m.clients)-1).Draw(t, "client")
	made, err := m.world.db.CreateLink(m.t.Context(), store.Link{
		ID: storetest.ID(), OwnerUserID: m.world.user.ID, CameraDeviceID: m.world.camera.ID, ClientDeviceID: m.clients[client].ID,
		CreatedAt: m.now,
	}, m.world.by)
	if m.linked[client] {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	mustBe(t, made.ID, m.links[client])
	m.linked[client] = true
}

func (m *commandModel) pass(t *rapid.T) {
	seconds := rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(1, 700)).Draw(t, "seconds")
	m.now = m.now.Add(time.Duration(seconds) * time.Second)
}

// check compares every row with the model.
func (m *commandModel) check(t *rapid.T) {
	rows, err := m.world.db.Commands(m.t.Context(), m.world.user.ID, store.CommandFilter{}, store.Page{Limit: 1000})
	mustBe(t, err, nil)
	mustBe(t, len(rows), len(m.commands))
	for _, row := range rows {
		c := m.commands[row.ID]
		if c == nil {
			t.Fatalf("%s was deleted", row.ID)
		}
		mustBe(t, row.Status, c.status)
		mustBe(t, row.Error, c.err)
		mustBe(t, row.RetryCount, c.retries)
		mustBe(t, row.Attempt, c.attempt)
		if !row.SentAt.Equal(c.sent) || row.AckAt.IsZero() == (c.status == store.CommandAcknowledged || c.status == store.CommandRejected) {
			t.Fatalf("%s command %s was sent at %v and answered at %v; want sent at %v", c.status, c.id, row.SentAt, row.AckAt, c.sent)
		}
	}
}

// TestCommandStateMachine does to the commands of a camera, in any order, what
// clients, the camera with several connections, and several processes do, of
// which some die and some come late:
//
//   - a command ends once: acknowledged, rejected or failed; what comes
//     afterwards changes nothing and is told so;
//   - one attempt counts at a time, the last one: whoever set out before it
//     cannot mark it, and each delivery but the first counts as one retry;
//   - it goes out again after 10 s, then every 5 s, three times, and fails 10 s
//     later or after ten minutes, unless its camera is away and it was not sent;
//   - what nobody answered can begin anew, and nothing else can;
//   - nothing waits over a link that was revoked, and every end is audited once.
func TestCommandStateMachine(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(rt *rapid.T) {
			// Each run has a user of its own, so that one schema serves all.
			w := newWorld(t, db)
			m := &commandModel{
				t: t, world: w, clients: []store.Device{w.client, storetest.Client(t, db, w.user.ID)}, linked: []bool{true, true},
				now: storetest.Now(), online: true, commands: map[string]*modelCommand{}, told: map[string]int{},
			}
			for _, client := range m.clients {
				l, err := db.ActiveLink(t.Context(), w.camera.ID, client.ID)
				wantErr(t, err, nil)
				m.links = append(m.links, l.ID)
			}
			defer func() { // a look takes everybody's
				m.leave(rt)
				for _, client := range m.clients {
					wantErr(t, db.DeleteDevice(t.Context(), w.user.ID, client.ID, w.by), nil)
				}
			}()
			rt.Repeat(map[string]func(*rapid.T){
				"create": m.create, "connect": m.connect, "leave": m.leave, "retry due": m.retryDue, "work": m.work, "work on": m.work,
				"deliver": m.deliver, "deliver too": m.deliver, "end": m.end, "expire": m.expire, "wait": m.wait, "retry": m.retry,
				"revive": m.revive, "unlink": m.unlink, "link": m.link, "pass": m.pass, "": m.check,
			})
			audited := w.actions(t)
			for action, n := range m.told {
				mustBe(rt, audited[action], n)
			}
		})
	})
}

func mustNotFind(t *rapid.T, err error) {
	if !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("got %v, want not found", err)
	}
}
