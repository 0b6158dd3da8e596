package blob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"
)

// errNotDir is what the system says of a path through a regular file.
const errNotDir = syscall.ENOTDIR

// diskWriter writes a partial file and renames it on Commit.
type diskWriter struct {
	disk  *Disk
	key   string
	file  *os.File // nil after Commit or Abort
	size  int64
	floor int64 // where the last Write began

	committed bool
}

// Size implements Writer.
func (w *diskWriter) Size() int64 { return w.size }

// Write implements Writer.
func (w *diskWriter) Write(p []byte) (int, error) {
	if w.file == nil {
		return 0, ErrClosed
	}
	if _, err := w.file.WriteAt(p, w.size); err != nil {
		// What a full disk took of p must not stay behind the last whole Write.
		return 0, fmt.Errorf("blob: write %s: %w", w.key, errors.Join(err, w.file.Truncate(w.size)))
	}
	w.floor = w.size
	w.size += int64(len(p))
	return len(p), nil
}

// WriteAt implements Writer.
func (w *diskWriter) WriteAt(p []byte, off int64) (int, error) {
	if w.file == nil {
		return 0, ErrClosed
	}
	if err := checkHead(off, len(p), w.size); err != nil {
		return 0, err
	}
	return w.file.WriteAt(p, off)
}

// ReadAt implements Writer.
func (w *diskWriter) ReadAt(p []byte, off int64) (int, error) {
	if w.file == nil {
		return 0, ErrClosed
	}
	if err := checkHead(off, len(p), w.size); err != nil {
		return 0, err
	}
	return w.file.ReadAt(p, off)
}

// Truncate implements Writer.
func (w *diskWriter) Truncate(size int64) error {
	if w.file == nil {
		return ErrClosed
	}
	if size < w.floor || size > w.size {
		return ErrRange
	}
	if err := w.file.Truncate(size); err != nil {
		return fmt.Errorf("blob: truncate %s: %w", w.key, err)
	}
	w.size = size
	return nil
}

// Commit implements Writer. When it returns, the object survives a power
// failure.
func (w *diskWriter) Commit(ctx context.Context) error {
	switch {
	case w.committed:
		return nil
	case w.file == nil:
		return ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if err := w.publish(); err != nil {
		return fmt.Errorf("blob: commit %s: %w", w.key, err)
	}
	w.committed = true
	return w.close()
}

func (w *diskWriter) publish() error {
	root := w.disk.root
	data, partial, types := path.Join(dataTree, w.key), path.Join(partialTree, w.key), path.Join(typesTree, w.key)
	if err := w.file.Sync(); err != nil {
		return err
	}
	t, err := root.Open(types)
	if err != nil {
		return err
	}
	if err := errors.Join(t.Sync(), t.Close(), w.disk.syncTree(types)); err != nil {
		return err
	}
	if err := root.MkdirAll(path.Dir(data), 0o700); err != nil {
		return err
	}
	if err := root.Rename(partial, data); err != nil {
		return err
	}
	return errors.Join(w.disk.syncTree(data), w.disk.syncTree(partial))
}

// Abort implements Writer.
func (w *diskWriter) Abort(context.Context) error {
	if w.file == nil {
		return nil
	}
	root := w.disk.root
	err := errors.Join(root.Remove(path.Join(partialTree, w.key)), root.Remove(path.Join(typesTree, w.key)))
	if err != nil {
		return fmt.Errorf("blob: abort %s: %w", w.key, errors.Join(err, w.close()))
	}
	return w.close()
}

func (w *diskWriter) close() error {
	err := w.file.Close()
	w.file = nil
	w.disk.claims.drop(w.key)
	return err
}
