package recorder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/securecam/securecam/recorder/webm"
)

var (
	errKilled = errors.New("killed")
	errFull   = errors.New("disk full")
	errNone   = errors.New("no such object")
)

// memory is an object store in memory that is as strict as Object allows. It dies after a number of bytes: the
// write that goes beyond is cut there, and nothing works until Resume.
type memory struct {
	mu      sync.Mutex
	objects map[string]*object
	left    int
	hold    chan struct{} // when not nil, writes wait for it
	full    int           // when not 0, objects do not grow beyond
	died    time.Time
}

func newMemory() *memory { return &memory{objects: map[string]*object{}, left: math.MaxInt} }

func (m *memory) Create(_ context.Context, key, contentType string) (Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == 0 || m.objects[key] != nil {
		return nil, fmt.Errorf("create %s: dead or there already", key)
	}
	o := &object{m: m, key: key, contentType: contentType}
	m.objects[key] = o
	return o, nil
}

func (m *memory) Resume(_ context.Context, key string) (Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = math.MaxInt
	if o := m.objects[key]; o != nil && !o.committed {
		return o, nil
	}
	return nil, errNone
}

func (m *memory) get(key string) *object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[key]
}

type object struct {
	m           *memory
	key         string
	contentType string
	data        []byte
	last        int
	writes      []int // how many bytes had been written before each write
	total       int
	committed   bool
}

func (o *object) write(p []byte, put func(p []byte)) (int, error) {
	if o.m.hold != nil {
		<-o.m.hold
	}
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if o.committed {
		return 0, errors.New("write after commit")
	}
	n, err := len(p), error(nil)
	if n > o.m.left {
		n, err = o.m.left, errKilled
		if o.m.died.IsZero() {
			o.m.died = time.Now()
		}
	}
	o.writes = append(o.writes, o.total)
	o.m.left -= n
	o.total += n
	put(p[:n])
	return n, err
}

func (o *object) Write(p []byte) (int, error) {
	if o.m.full > 0 && len(o.data)+len(p) > o.m.full {
		o.last = len(o.data)
		o.data = append(o.data, p[:o.m.full-len(o.data)]...)
		return o.m.full - o.last, errFull
	}
	return o.write(p, func(p []byte) {
		o.last = len(o.data)
		o.data = append(o.data, p...)
	})
}

func (o *object) WriteAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > min(len(o.data), webm.MaxHead) {
		return 0, fmt.Errorf("write at %d+%d: outside of the head", off, len(p))
	}
	return o.write(p, func(p []byte) { copy(o.data[off:], p) })
}

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > min(len(o.data), webm.MaxHead) {
		return 0, errors.New("read outside of the head")
	}
	return copy(p, o.data[off:]), nil
}

func (o *object) Size() int64 { return int64(len(o.data)) }

func (o *object) Truncate(size int64) error {
	if o.m.left == 0 {
		return errKilled
	}
	if size < int64(o.last) || size > o.Size() {
		return fmt.Errorf("truncate to %d: not within the last write", size)
	}
	o.data = o.data[:size]
	return nil
}

func (o *object) Commit(ctx context.Context) error {
	if o.m.left == 0 {
		return errKilled
	}
	o.committed = ctx.Err() == nil
	return ctx.Err()
}

func (o *object) Abort(context.Context) error {
	if o.m.left == 0 {
		return errKilled
	}
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	delete(o.m.objects, o.key)
	return nil
}

// pause lets time pass, in a synctest bubble.
func pause(d time.Duration) { <-time.After(d) }

func mustClose(tb testing.TB, r *Recording) Result {
	tb.Helper()
	result, err := r.Close(tb.Context())
	if err != nil {
		tb.Fatalf("close: %v", err)
	}
	return result
}
