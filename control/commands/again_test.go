package commands

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
)

// TestDue follows what Run does with a command that nobody answers.
func TestDue(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	s.gate.connected[s.camera.ID] = true
	c := s.create()
	begun := s.at
	due := func() (next, fails time.Duration) {
		t.Helper()
		job, err := s.db.Job(t.Context(), store.QueueCommands, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		n, f := s.Due(job)
		if !n.IsZero() {
			next = n.Sub(begun)
		}
		if !f.IsZero() {
			fails = f.Sub(begun)
		}
		return next, fails
	}
	for _, want := range [][2]time.Duration{
		{10 * time.Second, 10 * time.Minute},
		{15 * time.Second, 10 * time.Minute},
		{20 * time.Second, 10 * time.Minute},
		{0, 30 * time.Second},
		{0, 0},
	} {
		if want[0] == 10*time.Second {
			s.Dispatch(t.Context(), c)
		}
		if next, fails := due(); next != want[0] || fails != want[1] {
			t.Errorf("after %v: next after %v, fails after %v, want %v", s.at.Sub(begun), next, fails, want)
		}
		pause := 5 * time.Second
		if want[0] == 10*time.Second || want[0] == 0 {
			pause = 10 * time.Second
		}
		s.after(pause)
	}
	s.want(c.ID, store.CommandFailed, 3, "unanswered")
}

// TestDueAtTheDeadline has it come before the last attempt was in vain.
func TestDueAtTheDeadline(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	s.cfg.Deadline = 25 * time.Second
	s.gate.connected[s.camera.ID] = true
	c := s.create()
	begun := s.at
	s.Dispatch(t.Context(), c)
	s.after(20 * time.Second)
	s.want(c.ID, store.CommandSent, 3, "")
	job, err := s.db.Job(t.Context(), store.QueueCommands, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if next, fails := s.Due(job); !next.IsZero() || fails.Sub(begun) != s.cfg.Deadline {
		t.Errorf("sent often enough: next at %v, fails after %v, want %v", next, fails.Sub(begun), s.cfg.Deadline)
	}
	s.after(5 * time.Second)
	s.want(c.ID, store.CommandFailed, 3, "expired")
}

// TestRetryTellsInOrder has a camera answer while a command is being sent to it
// once more, and its source hear of that last.
func TestRetryTellsInOrder(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		s := newStation(t)
		c := s.create()
		s.after(s.cfg.Deadline)
		s.want(c.ID, store.CommandFailed, 0, "expired")
		s.gate.connected[s.camera.ID], s.gate.connected[s.client.ID] = true, true
		camera := auth.Principal{UserID: s.user, DeviceID: s.camera.ID, Role: store.RoleCamera}
		want := []string{"queued", "sent"}
		if answers {
			want[1] = "acknowledged"
			s.gate.during = func() {
				if _, err := s.Ack(t.Context(), camera, c.ID, Answer{Status: store.CommandAcknowledged}); err != nil {
					t.Error(err)
				}
			}
		}
		after, err := s.Retry(t.Context(), auth.Principal{UserID: s.user, SessionID: "s"}, c.ID)
		if err != nil || string(after.Status) != want[1] {
			t.Errorf("sent again and %s, %v", after.Status, err)
		}
		var told []string
		for _, h := range s.gate.take(s.client.ID) {
			told = append(told, h.status)
		}
		if !slices.Equal(told, want) {
			t.Errorf("the source hears %q, want %q", told, want)
		}
	}
}

// promptStore is a store whose camera answers as soon as a command is marked
// sent.
type promptStore struct {
	Store
	answer func(id string)
}

func (s promptStore) MarkCommandSent(ctx context.Context, id string, attempt int64, at time.Time) error {
	err := s.Store.MarkCommandSent(ctx, id, attempt, at)
	s.answer(id)
	return err
}

// TestAnswerBeforeSentIsTold has a camera answer after its command is marked
// sent, and before its source is told that, in each of the ways in which it is.
func TestAnswerBeforeSentIsTold(t *testing.T) {
	t.Parallel()
	for name, deliver := range map[string]func(s *station, c store.Command) (want []string){
		"retry": func(s *station, c store.Command) []string {
			s.after(s.cfg.Deadline)
			s.gate.take("")
			s.gate.connected[s.camera.ID] = true
			if _, err := s.Retry(t.Context(), auth.Principal{UserID: s.user, SessionID: "s"}, c.ID); err != nil {
				t.Error(err)
			}
			return []string{"queued", "acknowledged"}
		},
		"the camera connects": func(s *station, _ store.Command) []string {
			s.gate.connected[s.camera.ID] = true
			s.gate.hook(t.Context(), s.camera.ID)(t.Context())
			return []string{"acknowledged"}
		},
		"redelivery": func(s *station, _ store.Command) []string {
			s.gate.connected[s.camera.ID] = true
			s.after(20 * time.Second)
			return []string{"acknowledged"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t)
			s.gate.connected[s.client.ID] = true
			camera := auth.Principal{UserID: s.user, DeviceID: s.camera.ID, Role: store.RoleCamera}
			s.cfg.Store = promptStore{s.cfg.Store, func(id string) {
				if _, err := s.Ack(t.Context(), camera, id, Answer{Status: store.CommandAcknowledged}); err != nil {
					t.Error(err)
				}
			}}
			want := deliver(s, s.create())
			var told []string
			for _, h := range s.gate.take(s.client.ID) {
				told = append(told, h.status)
			}
			if !slices.Equal(told, want) {
				t.Errorf("the source hears %q, want %q", told, want)
			}
		})
	}
}
