package commands

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// tickTimeout bounds one round of Run, however slow store and bus are.
const tickTimeout = 10 * time.Second

// tellTimeout bounds how long a change waits until it is told of the commands
// that ended with it.
const tellTimeout = 3 * time.Second

// Dispatch delivers a command whose row is committed, when its camera is
// connected to any node. Otherwise the row waits for the camera.
func (s *Service) Dispatch(ctx context.Context, c store.Command) { s.dispatch(ctx, c) }

// dispatch returns the command as it is afterwards.
func (s *Service) dispatch(ctx context.Context, c store.Command) store.Command {
	after, err := s.deliver(ctx, c)
	if err != nil {
		s.log.Warn("command not delivered", slog.String("command", c.ID), slog.Any("err", err))
	}
	return after
}

// deliver sends a command and notes that it did. It returns the command as it
// is afterwards, also with an error: then the command comes once more.
func (s *Service) deliver(ctx context.Context, c store.Command) (store.Command, error) {
	delivered, err := s.cfg.Gateway.Relay(ctx, c.TargetDeviceID, eventReceived, toCommand(c))
	if err != nil || !delivered {
		return c, err
	}
	s.delivered.Add(1)
	if c.Status == store.CommandSent {
		s.redelivered.Add(1)
	}
	at := s.now()
	err = s.cfg.Store.MarkCommandSent(ctx, c.ID, c.Attempt, at)
	switch {
	case errors.Is(err, store.ErrConflict): // the camera was faster, or another attempt
		if now, err := s.cfg.Store.Command(ctx, c.OwnerUserID, c.ID); err == nil {
			return now, nil
		}
		return c, nil
	case err != nil:
		return c, err
	}
	if c.Status == store.CommandSent {
		c.RetryCount++
	}
	c.Status, c.SentAt = store.CommandSent, at
	return c, nil
}

// claimPending claims what a device that has connected has not answered, and
// returns what delivers it. It is claimed before the device is told that it is
// connected: whatever is sent to it from then on reaches it once, from whoever
// sends it.
func (s *Service) claimPending(ctx context.Context, deviceID string) (deliver func(context.Context)) {
	pending, err := s.cfg.Store.ClaimPendingCommands(ctx, deviceID, maxBacklog, s.now())
	if err != nil {
		s.log.Error("pending commands not read", slog.String("device", deviceID), slog.Any("err", err))
	}
	return func(ctx context.Context) { s.deliverAll(ctx, pending) }
}

// deliverAll delivers commands in order, as long as their device is there.
func (s *Service) deliverAll(ctx context.Context, pending []store.Command) {
	for _, c := range pending {
		after := s.dispatch(ctx, c)
		if after.Status == c.Status && after.RetryCount == c.RetryCount {
			return // gone again
		}
		if newlySent(c, after) {
			s.tellSource(ctx, after)
		}
	}
}

func newlySent(before, after store.Command) bool {
	return before.Status == store.CommandQueued && after.Status == store.CommandSent
}

// Run sends commands again that their cameras did not answer, and those that
// did not get through, and fails the ones that nobody answers, until ctx ends.
// It survives errors of the store and the bus; several processes may run it,
// since each command is claimed by one.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.tick(ctx)
		}
	}
}

// tick runs one round and logs an outage once, not each time.
func (s *Service) tick(ctx context.Context) {
	tickCtx, cancel := context.WithTimeout(ctx, tickTimeout)
	defer cancel()
	err := s.round(tickCtx)
	switch {
	case err != nil && ctx.Err() != nil: // stopping
	case err != nil && !s.failing:
		s.failing = true
		s.log.WarnContext(ctx, "commands not redelivered", slog.Any("err", err))
	case err == nil && s.failing:
		s.failing = false
		s.log.InfoContext(ctx, "commands redelivered again")
	}
}

func (s *Service) round(ctx context.Context) error {
	now := s.now()
	expired, err := s.cfg.Store.ExpireCommands(ctx, store.CommandExpiry{
		At: now, SentBefore: now.Add(-s.cfg.AckTimeout), Retries: s.cfg.Retries,
		CreatedBefore: now.Add(-s.cfg.Deadline), Limit: s.cfg.CommandsPerTick,
	})
	if err != nil {
		return err
	}
	// A command fails once, and who sent it hears of that also while the server stops.
	telling, cancel := gateway.Telling(ctx)
	defer cancel()
	var failed error // the others may be reached all the same
	s.expired.Add(uint64(len(expired)))
	for _, c := range expired {
		s.log.InfoContext(ctx, "command failed", slog.String("command", c.ID),
			slog.String("device", c.TargetDeviceID), slog.String("reason", c.Error))
		failed = cmp.Or(failed, s.tell(telling, c))
	}
	claimed, err := s.cfg.Store.ClaimCommands(ctx, store.CommandClaim{
		At: now, Before: now.Add(-s.cfg.AckTimeout), AgainBefore: now.Add(-s.again()), Retries: s.cfg.Retries,
		PerDevice: maxBacklog, Limit: s.cfg.CommandsPerTick,
	})
	if err != nil {
		return err
	}
	for _, c := range claimed {
		// A claim holds for that long at least: who was stopped for long in
		// between leaves the rest to whoever has claimed it by now.
		if s.now().Sub(now) >= s.again()/2 {
			break
		}
		after, err := s.deliver(ctx, c)
		if err == nil && newlySent(c, after) {
			err = s.tell(telling, after)
		}
		failed = cmp.Or(failed, err)
	}
	return failed
}

// Due returns when a command that is queued or sent goes out next, if its camera
// is connected then, and when it fails for want of an answer. Of one that was
// sent often enough the first is zero, of one that has ended both.
func (s *Service) Due(j store.Job) (next, fails time.Time) {
	sent := j.Status == string(store.CommandSent)
	if !sent && j.Status != string(store.CommandQueued) {
		return time.Time{}, time.Time{}
	}
	pause, again, deadline := s.cfg.AckTimeout, j.Attempts-1, j.QueuedAt.Add(s.cfg.Deadline)
	switch {
	case sent && again >= s.cfg.Retries: // whichever comes first, as in ExpireCommands
		if unanswered := j.UpdatedAt.Add(pause); unanswered.Before(deadline) {
			return time.Time{}, unanswered
		}
		return time.Time{}, deadline
	case sent && again > 0:
		pause = s.cfg.Again
	}
	return j.UpdatedAt.Add(pause), deadline
}

// again is Again but for a fifth of the time between two looks: a command goes
// out a moment after the look that found it, and would be a moment too young
// for the look that is to find it next.
func (s *Service) again() time.Duration { return s.cfg.Again - min(s.cfg.Again, s.cfg.Interval)/5 }
