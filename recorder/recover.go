package recorder

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/securecam/securecam/recorder/webm"
)

// Recover finishes a recording whose process was killed: what was not whole is cut off, and the object is
// committed, or aborted when there is nothing in it. It fails with what Objects.Resume returns when there is no
// such object, and with webm.ErrDamaged when the object is not a recording; that one is left as it is.
func Recover(ctx context.Context, objects Objects, key string, logger *slog.Logger) (Result, error) {
	o, err := objects.Resume(ctx, key)
	if err != nil {
		return Result{}, fmt.Errorf("recorder: resume %s: %w", key, err)
	}
	before := o.Size()
	result, err := complete(ctx, o)
	if err != nil {
		return result, fmt.Errorf("recorder: recover %s: %w", key, err)
	}
	logger.Info("recording recovered", slog.String("recording", key), slog.Duration("dur", result.Duration),
		slog.Int64("bytes", result.Size), slog.Int64("cut_off", before-result.Size))
	return result, nil
}

// complete commits what is whole of an object.
func complete(ctx context.Context, o Object) (Result, error) {
	repaired, err := webm.Repair(o)
	if err != nil {
		return Result{}, err
	}
	if repaired.Empty {
		return Result{Empty: true}, o.Abort(ctx)
	}
	return Result{Duration: repaired.Duration, Size: repaired.Size}, o.Commit(ctx)
}
