package recordings

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/securecam/securecam/store"
)

// Why a recording failed; part of the API.
const (
	reasonNoMedia    = "no_media"       // the camera sent nothing that could be recorded
	reasonNotStarted = "not_started"    // the recorder refused
	reasonLost       = "object_lost"    // nothing is left of it
	reasonStorage    = "storage_failed" // the object store, or the file itself, is broken
)

const (
	// rowTimeout is what a row gets to be written when the process stops.
	rowTimeout = 5 * time.Second
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// recover completes the recording of a process that was killed.
func (s *Service) recover(ctx context.Context, row store.Recording) {
	result, err := s.Recorder.Recover(ctx, row.ObjectKey)
	s.settle(ctx, row, result, err)
}

// settle writes down how a recording ended, unless that is for the next
// Recover to find out: when the process stops first, or the object store does
// not answer.
func (s *Service) settle(ctx context.Context, row store.Recording, result Result, err error) {
	switch {
	case err == nil && result.Empty:
		s.fail(ctx, row, reasonNoMedia)
		return
	case err == nil:
		s.ready(ctx, row, result)
		return
	case ctx.Err() != nil:
		s.Logger.Warn("recording left for the next start", attrs(row, slog.Any("err", err))...)
		return
	}
	s.Logger.Error("recording ended early", attrs(row, slog.Any("err", err))...)
	// It may be shorter than it should be, or have been committed by a process
	// that was killed before it could write that down.
	info, statErr := s.Objects.Stat(ctx, row.ObjectKey)
	switch {
	case statErr == nil:
		if result.Size != info.Size {
			// Only the file knows its length; this is close.
			result = Result{Duration: max(0, info.ModTime.Sub(row.StartedAt)), Size: info.Size}
		}
		s.ready(ctx, row, result)
	case !errors.Is(statErr, fs.ErrNotExist):
		s.Logger.Error("recording left for the next start", attrs(row, slog.Any("err", statErr))...)
	case result.Empty:
		s.fail(ctx, row, reasonNoMedia)
	case errors.Is(err, fs.ErrNotExist):
		s.fail(ctx, row, reasonLost)
	default:
		s.fail(ctx, row, reasonStorage)
	}
}

func (s *Service) ready(ctx context.Context, row store.Recording, r Result) {
	// Which type it is was decided by the codecs that came. A store that is away
	// leaves the one that was expected: whoever downloads it is told the real one.
	info, err := s.Objects.Stat(ctx, row.ObjectKey)
	if err != nil {
		info.ContentType = ""
	}
	err = s.write(ctx, func(ctx context.Context) error {
		return s.Store.FinishRecording(ctx, row.ID, info.ContentType, r.Duration, r.Size, s.now())
	})
	if err != nil {
		s.Logger.Error("ready recording not written down", attrs(row, slog.Any("err", err))...)
		return
	}
	s.Logger.Info("recording ready", attrs(row, slog.Duration("dur", r.Duration), slog.Int64("bytes", r.Size))...)
}

func (s *Service) fail(ctx context.Context, row store.Recording, reason string) {
	err := s.write(ctx, func(ctx context.Context) error {
		return s.Store.FailRecording(ctx, row.ID, reason, s.now())
	})
	if err != nil {
		s.Logger.Error("failed recording not written down", attrs(row, slog.Any("err", err))...)
		return
	}
	s.Logger.Warn("recording failed", attrs(row, slog.String("reason", reason))...)
}

// write changes a row. The database may be away: it is tried until the
// process stops, and once more then.
func (s *Service) write(ctx context.Context, change func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		stopping := ctx.Err() != nil
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), rowTimeout)
		err := change(attempt)
		cancel()
		if err == nil || stopping || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// now is the clock in the resolution that rows keep.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }
