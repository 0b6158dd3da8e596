package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// hearing is one event that a device was sent.
type hearing struct{ device, event, command, status string }

// fakeGateway is a gateway to which the devices in connected are connected.
type fakeGateway struct {
	mu        sync.Mutex
	connected map[string]bool
	err       error
	sent      []hearing
	during    func() // each Relay
	hook      func(ctx context.Context, deviceID string) (ready func(context.Context))
}

func (g *fakeGateway) Handle(string, gateway.Handler) {}

func (g *fakeGateway) OnConnect(hook func(ctx context.Context, deviceID string) (ready func(context.Context))) {
	g.hook = hook
}

func (g *fakeGateway) SendNews(ctx context.Context, deviceID, event string, data any, add gateway.Append) (bool, error) {
	_, err := add(ctx, deviceID, store.DeviceEvent{Event: event, Data: json.RawMessage("{}"), CreatedAt: storetest.Now()}, 1)
	if errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return g.send(ctx, deviceID, event, data)
}

func (g *fakeGateway) send(ctx context.Context, deviceID, event string, data any) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if g.err != nil {
		return false, g.err
	}
	if !g.connected[deviceID] {
		return false, nil
	}
	c, _ := data.(Command)
	g.sent = append(g.sent, hearing{deviceID, event, c.ID, c.Status})
	return true, nil
}

func (g *fakeGateway) Relay(ctx context.Context, deviceID, event string, data any) (bool, error) {
	if g.during != nil {
		g.during()
	}
	return g.send(ctx, deviceID, event, data)
}

// take returns what a device has heard of a command since the last take.
func (g *fakeGateway) take(device string) []hearing {
	g.mu.Lock()
	defer g.mu.Unlock()
	var heard []hearing
	for _, h := range g.sent {
		if h.device == device {
			heard = append(heard, h)
		}
	}
	g.sent = nil
	return heard
}

// station is a service on a real database with a camera and a client.
type station struct {
	*Service
	t              *testing.T
	db             *store.DB
	gate           *fakeGateway
	at             time.Time
	user           string
	camera, client store.Device
}

func newStation(t *testing.T) *station {
	t.Helper()
	s := &station{t: t, db: storetest.SQLite(t), at: storetest.Now(), gate: &fakeGateway{connected: map[string]bool{}}}
	s.user = storetest.User(t, s.db).ID
	s.camera, s.client = storetest.Camera(t, s.db, s.user), storetest.Client(t, s.db, s.user)
	s.Service = s.process()
	return s
}

func (s *station) process() *Service {
	return New(Config{Store: s.db, Gateway: s.gate, Now: func() time.Time { return s.at }})
}

// create adds a command that nobody has tried to deliver.
func (s *station) create() store.Command {
	s.t.Helper()
	c := store.Command{
		ID: storetest.ID(), OwnerUserID: s.user, SourceDeviceID: s.client.ID, TargetDeviceID: s.camera.ID,
		CommandType: "x", Status: store.CommandQueued, CreatedAt: s.at, UpdatedAt: s.at,
	}
	if err := s.db.CreateCommand(s.t.Context(), c, store.Actor{}); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// after lets time pass as Run would see it.
func (s *station) after(d time.Duration) {
	s.t.Helper()
	for ; d > 0; d -= s.cfg.Interval {
		s.at = s.at.Add(min(d, s.cfg.Interval))
		if err := s.round(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *station) want(id string, status store.CommandStatus, retries int, errText string) {
	s.t.Helper()
	c, err := s.db.Command(s.t.Context(), s.user, id)
	if err != nil || c.Status != status || c.RetryCount != retries || c.Error != errText {
		s.t.Errorf("the command is %s after %d retries for %q (%v), want %s after %d for %q",
			c.Status, c.RetryCount, c.Error, err, status, retries, errText)
	}
}

func TestUnansweredCommandComesAgain(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	s.gate.connected[s.camera.ID], s.gate.connected[s.client.ID] = true, true
	silent, answered := s.create(), s.create()
	s.Dispatch(t.Context(), silent)
	s.Dispatch(t.Context(), answered)
	s.gate.take("")
	s.after(9 * time.Second)
	if heard := s.gate.take(s.camera.ID); len(heard) != 0 {
		t.Errorf("heard %v before the time to answer was over", heard)
	}
	s.after(time.Second)
	if heard := s.gate.take(s.camera.ID); len(heard) != 2 || heard[0].command != silent.ID {
		t.Errorf("heard %v, want both again", heard)
	}
	_, err := s.db.AckCommand(t.Context(), s.camera.ID, answered.ID, store.CommandAcknowledged, nil, "", s.at, store.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	s.after(10 * time.Second)
	if heard := s.gate.take(s.camera.ID); len(heard) != 2 || heard[1] != (hearing{s.camera.ID, eventReceived, silent.ID, "sent"}) {
		t.Errorf("heard %v, want the unanswered one twice", heard)
	}
	s.after(9 * time.Second)
	s.want(silent.ID, store.CommandSent, 3, "")
	s.after(time.Second)
	s.want(silent.ID, store.CommandFailed, 3, "unanswered")
	if heard := s.gate.take(s.client.ID); len(heard) != 1 || heard[0] != (hearing{s.client.ID, eventStatus, silent.ID, "failed"}) {
		t.Errorf("the source heard %v, want the failure", heard)
	}
	s.after(time.Minute)
	if len(s.gate.sent) != 0 {
		t.Errorf("told again: %v", s.gate.sent)
	}
	s.want(answered.ID, store.CommandAcknowledged, 1, "")
}

// TestPaceOfRedelivery has two processes look every five seconds, each in its
// own time, and deliveries take a while: a command comes after ten seconds, then
// about every five, and not twice as often with two processes.
func TestPaceOfRedelivery(t *testing.T) {
	t.Parallel()
	for _, apart := range []time.Duration{time.Second, 2500 * time.Millisecond, 4 * time.Second} {
		s := newStation(t)
		other := s.process()
		s.gate.connected[s.camera.ID] = true
		begin := s.at
		var came []time.Duration
		s.gate.during = func() {
			came = append(came, s.at.Sub(begin))
			s.at = s.at.Add(100 * time.Millisecond)
		}
		c := s.create()
		s.Dispatch(t.Context(), c)
		for look := begin.Add(s.cfg.Interval); look.Before(begin.Add(time.Minute)); look = look.Add(s.cfg.Interval) {
			s.at = look
			err := s.round(t.Context())
			s.at = look.Add(apart)
			if err := errors.Join(err, other.round(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		if len(came) != 4 {
			t.Fatalf("%v apart: sent at %v, want four times", apart, came)
		}
		for i, pause := range []time.Duration{10 * time.Second, 5 * time.Second, 5 * time.Second} {
			if got := came[i+1] - came[i]; got < pause-time.Second || got > pause+s.cfg.Interval {
				t.Errorf("%v apart: sent at %v", apart, came)
			}
		}
		s.want(c.ID, store.CommandFailed, 3, "unanswered")
	}
}

func TestQueuedCommandIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	s.gate.connected[s.camera.ID], s.gate.connected[s.client.ID] = true, true
	s.gate.err = errors.New("the bus is away")
	c := s.create()
	s.Dispatch(t.Context(), c)
	s.want(c.ID, store.CommandQueued, 0, "")
	s.at = s.at.Add(10 * time.Second)
	if err := s.round(t.Context()); !errors.Is(err, s.gate.err) {
		t.Errorf("got %v, want what the bus says", err)
	}
	s.gate.err = nil
	s.after(10 * time.Second)
	s.want(c.ID, store.CommandSent, 0, "")
	if heard := s.gate.take(s.client.ID); len(heard) != 1 || heard[0].status != "sent" {
		t.Errorf("the source heard %v, want that it was sent", heard)
	}
}

func TestCommandToAnOfflineCameraExpires(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	s.gate.connected[s.client.ID] = true
	if err := s.db.SetPresence(t.Context(), s.camera.ID, store.DeviceOffline, s.at); err != nil {
		t.Fatal(err)
	}
	c := s.create()
	s.Dispatch(t.Context(), c)
	s.after(10*time.Minute - time.Second)
	s.want(c.ID, store.CommandQueued, 0, "")
	s.after(time.Second)
	s.want(c.ID, store.CommandFailed, 0, "expired")
	if heard := s.gate.take(s.client.ID); len(heard) != 1 || heard[0].status != "failed" {
		t.Errorf("the source heard %v, want the failure", heard)
	}
	s.gate.connected[s.camera.ID] = true
	s.gate.hook(t.Context(), s.camera.ID)(t.Context())
	if heard := s.gate.take(s.camera.ID); len(heard) != 0 {
		t.Errorf("the camera heard %v when it was back", heard)
	}
}

// TestSentToACameraThatJustCame has one command wait for a camera, and another
// come as soon as the camera is told that it is connected: each reaches it once.
func TestSentToACameraThatJustCame(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	waiting := s.create()
	s.gate.connected[s.camera.ID] = true
	ready := s.gate.hook(t.Context(), s.camera.ID)
	fresh := s.create()
	s.Dispatch(t.Context(), fresh)
	ready(t.Context())
	heard := map[string]int{}
	for _, h := range s.gate.take(s.camera.ID) {
		heard[h.command]++
	}
	if len(heard) != 2 || heard[waiting.ID] != 1 || heard[fresh.ID] != 1 {
		t.Errorf("the camera heard %v, want each command once", heard)
	}
	s.want(waiting.ID, store.CommandSent, 0, "")
	s.want(fresh.ID, store.CommandSent, 0, "")
}

// stopsAfterExpiry is a store whose server is stopped as soon as commands have
// failed.
type stopsAfterExpiry struct {
	Store
	stop func()
}

func (s stopsAfterExpiry) ExpireCommands(ctx context.Context, e store.CommandExpiry) ([]store.Command, error) {
	defer s.stop()
	return s.Store.ExpireCommands(ctx, e)
}

// TestStopTellsOfWhatFailed holds that a stop right after a command has failed
// does not keep its source from hearing of it.
func TestStopTellsOfWhatFailed(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	s.gate.connected[s.client.ID] = true
	c := s.create()
	s.at = s.at.Add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.cfg.Store = stopsAfterExpiry{s.db, cancel}
	s.tick(ctx)
	s.want(c.ID, store.CommandFailed, 0, "expired")
	if heard := s.gate.take(s.client.ID); len(heard) != 1 || heard[0].status != "failed" {
		t.Errorf("the source heard %v, want the failure", heard)
	}
}

// TestBacklogReachesACameraThatNeverAnswers has more commands than one
// connection gets at once.
func TestBacklogReachesACameraThatNeverAnswers(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	const n = 2*maxBacklog + 10
	for range n {
		s.create()
	}
	s.gate.connected[s.camera.ID] = true
	heard := map[string]bool{}
	for range 3 { // connections
		s.gate.hook(t.Context(), s.camera.ID)(t.Context())
		got := s.gate.take(s.camera.ID)
		if len(got) > maxBacklog {
			t.Errorf("%d commands at once, want at most %d", len(got), maxBacklog)
		}
		for _, h := range got {
			heard[h.command] = true
		}
	}
	if len(heard) != n {
		t.Errorf("three connections heard %d of %d commands", len(heard), n)
	}

	for range n { // one connection
		s.create()
	}
	heard = map[string]bool{}
	for range 8 {
		s.after(s.cfg.Interval)
		for _, h := range s.gate.take(s.camera.ID) {
			if h.status == "queued" {
				heard[h.command] = true
			}
		}
	}
	if len(heard) != n {
		t.Errorf("one connection heard %d of %d commands", len(heard), n)
	}
}

func TestManyProcessesSendOnce(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	s.gate.connected[s.camera.ID] = true
	for range 20 {
		s.create()
	}
	s.at = s.at.Add(time.Minute)
	var wg sync.WaitGroup
	for range 4 {
		process := s.process()
		wg.Go(func() {
			if err := process.round(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if heard := s.gate.take(s.camera.ID); len(heard) != 20 {
		t.Errorf("%d commands were sent, want each of 20 once", len(heard))
	}
}

// awayStore is a store without commands that can be away, or hang.
type awayStore struct {
	Store
	away, hangs atomic.Bool
	rounds      atomic.Int64
}

func (s *awayStore) ExpireCommands(ctx context.Context, _ store.CommandExpiry) ([]store.Command, error) {
	s.rounds.Add(1)
	if s.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.away.Load() {
		return nil, store.ErrUnavailable
	}
	return nil, nil
}

func (s *awayStore) ClaimCommands(context.Context, store.CommandClaim) ([]store.Command, error) {
	return nil, nil
}

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		rows := &awayStore{}
		s := New(Config{Store: rows, Gateway: &fakeGateway{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		pass := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		pass(26 * time.Second)
		rows.away.Store(true)
		pass(25 * time.Second)
		rows.away.Store(false)
		pass(25 * time.Second)
		if n := rows.rounds.Load(); n != 15 {
			t.Errorf("%d rounds in 76 s, want 15", n)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d log lines, want one for the outage and one for its end:\n%s", n, log.String())
		}
		rows.hangs.Store(true)
		pass(5 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}
