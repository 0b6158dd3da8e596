package blob

import (
	"context"
	"errors"
	"fmt"
	"os"
)

const (
	// partSize is where a part ends: S3 takes no smaller one but the last.
	partSize = 5 << 20
	// maxParts is S3's limit, 48.8 GiB in all.
	maxParts = 10_000
)

// minioWriter writes into its spool entry. A part is cut between two Writes
// and given to the uploader only when the next one has begun, so that the
// last Write can always be taken back.
type minioWriter struct {
	entry    *spoolEntry
	uploader *uploader
	abort    func(context.Context) error

	head  *os.File // part 1
	tail  *os.File // the open part, maybe part 1
	open  segment
	size  int64
	floor int64 // where the last Write began; after Resume where the open part begins
	done  bool  // committing, committed or aborted
}

// newWriter opens the files of an entry and starts its uploader.
func (m *MinIO) newWriter(e *spoolEntry) (*minioWriter, error) {
	w := &minioWriter{entry: e, open: e.segments[len(e.segments)-1]}
	w.floor = w.open.start
	w.size = w.open.start + w.open.size
	var err error
	if w.head, err = os.OpenFile(e.path(1), os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("blob: spool: %w", err)
	}
	w.tail = w.head
	if w.open.number > 1 {
		if w.tail, err = os.OpenFile(e.path(w.open.number), os.O_RDWR, 0); err != nil {
			return nil, fmt.Errorf("blob: spool: %w", errors.Join(err, w.head.Close()))
		}
	}
	u := newUploader(m, e)
	for _, g := range e.segments[:len(e.segments)-1] {
		u.push(g)
	}
	if err := m.start(u); err != nil {
		return nil, errors.Join(err, w.closeFiles())
	}
	w.uploader = u
	w.abort = func(ctx context.Context) error { return m.abortUpload(ctx, e) }
	return w, nil
}

// Size implements Writer.
func (w *minioWriter) Size() int64 { return w.size }

// Write implements Writer.
func (w *minioWriter) Write(p []byte) (int, error) {
	if w.done {
		return 0, ErrClosed
	}
	if err := w.uploader.failed(); err != nil {
		return 0, err
	}
	n := int64(len(p))
	if !w.entry.spool.take(n) {
		return 0, ErrSpoolFull
	}
	err := w.append(p)
	if err != nil {
		w.entry.spool.give(n)
		return 0, err
	}
	w.floor = w.size
	w.size += n
	return len(p), nil
}

func (w *minioWriter) append(p []byte) error {
	if w.open.size >= partSize {
		return w.appendPart(p)
	}
	if _, err := w.tail.WriteAt(p, w.open.size); err != nil {
		return fmt.Errorf("blob: spool: %w", errors.Join(err, w.tail.Truncate(w.open.size)))
	}
	w.open.size += int64(len(p))
	return nil
}

// appendPart begins a part with p. Only when p lies in its file may the part
// before it be uploaded.
func (w *minioWriter) appendPart(p []byte) error {
	next := segment{number: w.open.number + 1, start: w.size, size: int64(len(p))}
	if next.number > maxParts {
		return ErrTooLarge
	}
	f, err := os.OpenFile(w.entry.path(next.number), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("blob: spool: %w", err)
	}
	if _, err := f.Write(p); err != nil {
		return fmt.Errorf("blob: spool: %w", errors.Join(err, f.Close(), os.Remove(f.Name())))
	}
	sealed, file := w.open, w.tail
	w.open, w.tail = next, f
	w.uploader.push(sealed)
	if file != w.head {
		// Nothing was written through it that WriteAt did not already report.
		_ = file.Close()
	}
	return nil
}

// WriteAt implements Writer.
func (w *minioWriter) WriteAt(p []byte, off int64) (int, error) {
	if w.done {
		return 0, ErrClosed
	}
	if err := checkHead(off, len(p), w.size); err != nil {
		return 0, err
	}
	return w.head.WriteAt(p, off)
}

// ReadAt implements Writer.
func (w *minioWriter) ReadAt(p []byte, off int64) (int, error) {
	if w.done {
		return 0, ErrClosed
	}
	if err := checkHead(off, len(p), w.size); err != nil {
		return 0, err
	}
	return w.head.ReadAt(p, off)
}

// Truncate implements Writer.
func (w *minioWriter) Truncate(size int64) error {
	if w.done {
		return ErrClosed
	}
	if size < w.floor || size > w.size {
		return ErrRange
	}
	if err := w.tail.Truncate(size - w.open.start); err != nil {
		return fmt.Errorf("blob: spool: %w", err)
	}
	w.entry.spool.give(w.size - size)
	w.open.size = size - w.open.start
	w.size = size
	return nil
}

// Commit implements Writer. When ctx ends first, the upload goes on in the
// background until the store is closed.
func (w *minioWriter) Commit(ctx context.Context) error {
	if !w.done {
		w.done = true
		err := w.closeFiles()
		w.uploader.finish(w.open)
		if err != nil {
			return fmt.Errorf("blob: spool: %w", err)
		}
	}
	select {
	case <-w.uploader.done:
		return w.uploader.failed()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Abort implements Writer. Parts that an unreachable server already has stay
// there until it drops the upload after 24 hours.
func (w *minioWriter) Abort(ctx context.Context) error {
	var err error
	if !w.done {
		w.done = true
		err = w.closeFiles()
	}
	w.uploader.stop()
	if w.uploader.failed() == nil { // committed, or aborted before
		return err
	}
	w.uploader.settle(nil)
	return errors.Join(err, w.abort(ctx), w.entry.remove())
}

func (w *minioWriter) closeFiles() error {
	err := w.head.Close()
	if w.tail != w.head {
		err = errors.Join(err, w.tail.Close())
	}
	return err
}
