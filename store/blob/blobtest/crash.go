package blobtest

import (
	"bytes"
	"fmt"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/store/blob"
)

// crash leaves everything that s was doing, as kill -9 would, and returns a
// new Store on the same place.
func crash(t interface{ Fatalf(string, ...any) }, s blob.Store, open func() blob.Store) blob.Store {
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return open()
}

func (t test) crash() {
	open := t.New(t.T)
	s := open()
	w := create(t, s, key)
	var want []byte
	for i := range 9 {
		p := pattern(2<<20, uint64(i))
		write(t, w, p)
		want = append(want, p...)
	}
	write(t, w, pattern(1<<20, 99))
	s = crash(t, s, open)

	_, err := s.Create(t.Context(), key, contentType)
	wantError(t, "Create over what was left", err, blob.ErrExists)
	_, err = s.Stat(t.Context(), key)
	wantError(t, "Stat of what was left", err, blob.ErrNotFound)
	w, err = s.Resume(t.Context(), key)
	if err != nil {
		t.Fatalf("Resume: %v", err)
	}
	if w.Size() != 19<<20 {
		t.Fatalf("Size = %d after Resume, want %d", w.Size(), 19<<20)
	}
	if err := w.Truncate(18 << 20); err != nil {
		t.Fatalf("Truncate of the last Write: %v", err)
	}
	head := pattern(blob.HeadSize, 7)
	if _, err := w.WriteAt(head, 0); err != nil {
		t.Fatal(err)
	}
	copy(want, head)
	got := make([]byte, 1000)
	if _, err := w.ReadAt(got, 5000); err != nil || !bytes.Equal(got, want[5000:6000]) {
		t.Errorf("ReadAt after Resume: %v, or other bytes", err)
	}
	p := pattern(6<<20, 8)
	write(t, w, p)
	commit(t, w)
	if got := read(t, s, key, 0, -1); !bytes.Equal(got, append(want, p...)) {
		t.Error("content differs")
	}
	if info, err := s.Stat(t.Context(), key); err != nil || info.ContentType != contentType {
		t.Errorf("Stat = %+v, %v", info, err)
	}
}

func (t test) crashAndDelete() {
	open := t.New(t.T)
	s := open()
	w := create(t, s, key)
	for i := range 4 {
		write(t, w, pattern(2<<20, uint64(i)))
	}
	s = crash(t, s, open)
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	_, err := s.Resume(t.Context(), key)
	wantError(t, "Resume after Delete", err, blob.ErrNotFound)
	put(t, s, key, []byte("new"))
}

// testModel compares a Writer with a slice of bytes through random calls and
// crashes.
func (t test) model() {
	open := t.New(t.T)
	s := open()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++ // every run writes an object of its own
		m := &model{key: fmt.Sprintf("model/%d", n), store: s, open: open, writer: create(t, s, fmt.Sprintf("model/%d", n))}
		rt.Repeat(map[string]func(*rapid.T){
			"write": m.write, "head": m.head, "truncate": m.truncate, "crash": m.crash, "": m.check,
		})
		s = m.store
		commit(t, m.writer)
		if got := read(t, s, m.key, 0, -1); !bytes.Equal(got, m.want) {
			rt.Fatal("content differs")
		}
		if err := s.Delete(t.Context(), m.key); err != nil {
			rt.Fatal(err)
		}
	})
}

type model struct {
	key    string
	open   func() blob.Store
	store  blob.Store
	writer blob.Writer
	want   []byte // what writer has taken
	last   int    // where its last Write begins
}

func (m *model) write(t *rapid.T) {
	size := rapid.IntRange(1, 5000).Draw(t, "size")
	if rapid.IntRange(0, 9).Draw(t, "large") == 0 { // now and then enough to fill a part
		size += 5 << 20
	}
	p := pattern(size, uint64(len(m.want)))
	if _, err := m.writer.Write(p); err != nil {
		t.Fatal(err)
	}
	m.last = len(m.want)
	m.want = append(m.want, p...)
}

func (m *model) head(t *rapid.T) {
	off := rapid.IntRange(0, blob.HeadSize).Draw(t, "off")
	p := pattern(rapid.IntRange(1, 5000).Draw(t, "n"), uint64(off))
	_, err := m.writer.WriteAt(p, int64(off))
	if inside := off+len(p) <= min(len(m.want), blob.HeadSize); inside != (err == nil) {
		t.Fatalf("WriteAt(%d bytes, %d) of %d: %v", len(p), off, len(m.want), err)
	}
	if err == nil {
		copy(m.want[off:], p)
	}
}

func (m *model) truncate(t *rapid.T) {
	size := rapid.IntRange(m.last, len(m.want)).Draw(t, "size")
	if err := m.writer.Truncate(int64(size)); err != nil {
		t.Fatalf("Truncate(%d) of %d, last Write at %d: %v", size, len(m.want), m.last, err)
	}
	m.want = m.want[:size]
}

func (m *model) crash(t *rapid.T) {
	m.store = crash(t, m.store, m.open)
	w, err := m.store.Resume(t.Context(), m.key)
	if err != nil {
		t.Fatalf("Resume: %v", err)
	}
	m.writer = w
}

func (m *model) check(t *rapid.T) {
	if m.writer.Size() != int64(len(m.want)) {
		t.Fatalf("Size = %d, want %d", m.writer.Size(), len(m.want))
	}
}
