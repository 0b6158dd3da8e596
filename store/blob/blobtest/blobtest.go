// Package blobtest is the suite that every blob.Store passes.
package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/securecam/securecam/store/blob"
)

// Backend is an implementation under test.
type Backend struct {
	// New makes an empty place for objects. Each call of open is a new process
	// on that place: a Store that shares nothing in memory with the others.
	New func(t *testing.T) (open func() blob.Store)
	// Get requests a URL that s signed and returns the status and the body.
	Get func(t *testing.T, s blob.Store, method, url string) (status int, body []byte)
}

const (
	key         = "recordings/camera-1/0001.webm"
	contentType = "video/webm"
)

// test is a test of the suite while it runs.
type test struct {
	*testing.T
	Backend
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	t.Helper()
	cases := []struct {
		name string
		run  func(t test)
	}{
		{"RoundTrip", test.roundTrip},
		{"Ranges", test.ranges},
		{"Head", test.head},
		{"Truncate", test.truncate},
		{"Exists", test.exists},
		{"NotFound", test.notFound},
		{"BadKeys", test.badKeys},
		{"Abort", test.abort},
		{"AfterCommit", test.afterCommit},
		{"Delete", test.delete},
		{"Concurrent", test.concurrent},
		{"Crash", test.crash},
		{"CrashAndDelete", test.crashAndDelete},
		{"Model", test.model},
		{"List", test.list},
		{"SignedURL", test.signedURL},
		{"SignedURLExpires", test.signedURLExpires},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(test{t, b})
		})
	}
}

// pattern returns n bytes that differ from those of another seed.
func pattern(n int, seed uint64) []byte {
	var key [32]byte
	for i := range key {
		key[i] = byte(seed >> (i % 8 * 8))
	}
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

func create(tb testing.TB, s blob.Store, key string) blob.Writer {
	tb.Helper()
	w, err := s.Create(tb.Context(), key, contentType)
	if err != nil {
		tb.Fatalf("Create(%s): %v", key, err)
	}
	return w
}

func write(tb testing.TB, w io.Writer, p []byte) {
	tb.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		tb.Fatalf("Write of %d bytes = %d, %v", len(p), n, err)
	}
}

func commit(tb testing.TB, w blob.Writer) {
	tb.Helper()
	if err := w.Commit(tb.Context()); err != nil {
		tb.Fatalf("Commit: %v", err)
	}
}

func put(tb testing.TB, s blob.Store, key string, p []byte) {
	tb.Helper()
	w := create(tb, s, key)
	write(tb, w, p)
	commit(tb, w)
}

func read(tb testing.TB, s blob.Store, key string, off, n int64) []byte {
	tb.Helper()
	r, err := s.Open(tb.Context(), key, off, n)
	if err != nil {
		tb.Fatalf("Open(%s, %d, %d): %v", key, off, n, err)
	}
	p, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		tb.Fatalf("reading %s from %d: %v", key, off, err)
	}
	return p
}

func wantError(tb testing.TB, what string, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func (t test) roundTrip() {
	s := t.New(t.T)()
	for i, size := range []int{0, 1, blob.HeadSize, 5<<20 - 1, 5 << 20, 17 << 20} {
		key := fmt.Sprintf("trip/%d", i)
		want := pattern(size, 1)
		w := create(t, s, key)
		for p := want; len(p) > 0; p = p[min(len(p), 700_001):] {
			write(t, w, p[:min(len(p), 700_001)])
		}
		if w.Size() != int64(size) {
			t.Errorf("Size = %d, want %d", w.Size(), size)
		}
		head := pattern(min(size, 4096), 2)
		if _, err := w.WriteAt(head, 0); err != nil {
			t.Fatalf("WriteAt: %v", err)
		}
		copy(want, head)
		commit(t, w)
		if got := read(t, s, key, 0, -1); !bytes.Equal(got, want) {
			t.Errorf("size %d: content differs", size)
		}
		info, err := s.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != key || info.Size != int64(size) || info.ContentType != contentType || info.ModTime.IsZero() {
			t.Errorf("Stat = %+v, want size %d", info, size)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

func (t test) ranges() {
	s := t.New(t.T)()
	want := pattern(10_000, 1)
	put(t, s, key, want)
	tests := []struct{ off, n, from, to int64 }{
		{0, -1, 0, 10_000},
		{0, 1, 0, 1},
		{0, 0, 0, 0},
		{9_999, 1, 9_999, 10_000},
		{9_999, 50, 9_999, 10_000},
		{10_000, -1, 10_000, 10_000},
		{10_000, 5, 10_000, 10_000},
		{123, 456, 123, 579},
		{5_000, -1, 5_000, 10_000},
	}
	for _, test := range tests {
		if got := read(t, s, key, test.off, test.n); !bytes.Equal(got, want[test.from:test.to]) {
			t.Errorf("Open(%d, %d): %d bytes, want %d", test.off, test.n, len(got), test.to-test.from)
		}
	}
	for _, off := range []int64{-1, 10_001} {
		_, err := s.Open(t.Context(), key, off, -1)
		wantError(t, fmt.Sprintf("Open at %d", off), err, blob.ErrRange)
	}
}

func (t test) head() {
	s := t.New(t.T)()
	w := create(t, s, key)
	want := pattern(100, 1)
	write(t, w, want)
	got := make([]byte, 50)
	if n, err := w.ReadAt(got, 50); n != 50 || err != nil || !bytes.Equal(got, want[50:]) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
	for _, test := range []struct {
		off int64
		n   int
	}{{-1, 1}, {51, 50}, {100, 1}, {1 << 40, 1}} {
		_, err := w.WriteAt(make([]byte, test.n), test.off)
		wantError(t, fmt.Sprintf("WriteAt(%d bytes, %d) of 100", test.n, test.off), err, blob.ErrRange)
		_, err = w.ReadAt(make([]byte, test.n), test.off)
		wantError(t, fmt.Sprintf("ReadAt(%d bytes, %d) of 100", test.n, test.off), err, blob.ErrRange)
	}
	write(t, w, pattern(blob.HeadSize, 2))
	_, err := w.WriteAt([]byte{1, 2}, blob.HeadSize-1)
	wantError(t, "WriteAt across the end of the head", err, blob.ErrRange)
	if _, err := w.WriteAt([]byte{1}, blob.HeadSize-1); err != nil {
		t.Errorf("WriteAt the head's last byte: %v", err)
	}
	commit(t, w)
}

func (t test) truncate() {
	s := t.New(t.T)()
	w := create(t, s, key)
	// The third Write begins the second part, so that taking it back leaves
	// that part empty.
	a, c := pattern(3<<20, 1), pattern(3<<20, 2)
	write(t, w, a)
	write(t, w, c)
	wantError(t, "Truncate below the last Write", w.Truncate(3<<20-1), blob.ErrRange)
	wantError(t, "Truncate above the end", w.Truncate(6<<20+1), blob.ErrRange)
	write(t, w, pattern(1000, 3))
	for _, size := range []int64{6<<20 + 500, 6 << 20} {
		if err := w.Truncate(size); err != nil || w.Size() != size {
			t.Fatalf("Truncate(%d) = %v, Size %d", size, err, w.Size())
		}
	}
	wantError(t, "Truncate below the last Write", w.Truncate(6<<20-1), blob.ErrRange)
	commit(t, w)
	if got := read(t, s, key, 0, -1); !bytes.Equal(got, append(a, c...)) {
		t.Errorf("content differs, %d bytes", len(got))
	}
}

func (t test) exists() {
	open := t.New(t.T)
	s := open()
	w := create(t, s, key)
	_, err := s.Create(t.Context(), key, contentType)
	wantError(t, "Create while another writes", err, blob.ErrExists)
	_, err = s.Resume(t.Context(), key)
	wantError(t, "Resume while another writes", err, blob.ErrBusy)
	wantError(t, "Delete while another writes", s.Delete(t.Context(), key), blob.ErrBusy)
	write(t, w, []byte("first"))
	commit(t, w)
	for _, s := range []blob.Store{s, open()} {
		_, err = s.Create(t.Context(), key, contentType)
		wantError(t, "Create of a committed object", err, blob.ErrExists)
		wantError(t, "Create, as others see it", err, fs.ErrExist)
		_, err = s.Resume(t.Context(), key)
		wantError(t, "Resume of a committed object", err, blob.ErrNotFound)
	}
	if got := read(t, s, key, 0, -1); string(got) != "first" {
		t.Errorf("got %q, want first", got)
	}
}

func (t test) notFound() {
	s := t.New(t.T)()
	w := create(t, s, "unfinished")
	write(t, w, []byte("x"))
	for _, key := range []string{key, "recordings", "unfinished", "unfinished/x"} {
		_, err := s.Stat(t.Context(), key)
		wantError(t, "Stat "+key, err, blob.ErrNotFound)
		wantError(t, "Stat, as others see it", err, fs.ErrNotExist)
		_, err = s.Open(t.Context(), key, 0, -1)
		wantError(t, "Open "+key, err, blob.ErrNotFound)
	}
	_, err := s.Resume(t.Context(), key)
	wantError(t, "Resume", err, blob.ErrNotFound)
	if err := s.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	commit(t, w)
}

func (t test) badKeys() {
	s := t.New(t.T)()
	for _, key := range []string{
		"", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "a/", "./a",
		"a\x00b", "a\\b", "a b", "a\n", "a?b", "a%2e", "ä", "C:x",
		strings.Repeat("a", 201), strings.Repeat("abc/", 128) + "a",
	} {
		_, err := s.Create(t.Context(), key, contentType)
		wantError(t, fmt.Sprintf("Create(%q)", key), err, blob.ErrBadKey)
		_, err = s.Resume(t.Context(), key)
		wantError(t, fmt.Sprintf("Resume(%q)", key), err, blob.ErrBadKey)
		_, err = s.Stat(t.Context(), key)
		wantError(t, fmt.Sprintf("Stat(%q)", key), err, blob.ErrBadKey)
		_, err = s.Open(t.Context(), key, 0, -1)
		wantError(t, fmt.Sprintf("Open(%q)", key), err, blob.ErrBadKey)
		wantError(t, fmt.Sprintf("Delete(%q)", key), s.Delete(t.Context(), key), blob.ErrBadKey)
		_, _, err = s.SignGet(t.Context(), key, blob.SignOptions{TTL: 1e9})
		wantError(t, fmt.Sprintf("SignGet(%q)", key), err, blob.ErrBadKey)
	}
}

func (t test) abort() {
	s := t.New(t.T)()
	w := create(t, s, key)
	for i := range 4 {
		write(t, w, pattern(2<<20, uint64(i)))
	}
	for range 2 {
		if err := w.Abort(t.Context()); err != nil {
			t.Fatalf("Abort: %v", err)
		}
	}
	_, err := w.Write([]byte("x"))
	wantError(t, "Write after Abort", err, blob.ErrClosed)
	_, err = s.Stat(t.Context(), key)
	wantError(t, "Stat after Abort", err, blob.ErrNotFound)
	_, err = s.Resume(t.Context(), key)
	wantError(t, "Resume after Abort", err, blob.ErrNotFound)
	put(t, s, key, []byte("again"))
}

func (t test) afterCommit() {
	s := t.New(t.T)()
	w := create(t, s, key)
	write(t, w, []byte("content"))
	commit(t, w)
	_, err := w.Write([]byte("x"))
	wantError(t, "Write", err, blob.ErrClosed)
	_, err = w.WriteAt([]byte("x"), 0)
	wantError(t, "WriteAt", err, blob.ErrClosed)
	_, err = w.ReadAt(make([]byte, 1), 0)
	wantError(t, "ReadAt", err, blob.ErrClosed)
	wantError(t, "Truncate", w.Truncate(0), blob.ErrClosed)
	if err := w.Commit(t.Context()); err != nil {
		t.Errorf("Commit again: %v", err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort: %v", err)
	}
	if got := read(t, s, key, 0, -1); string(got) != "content" {
		t.Errorf("got %q", got)
	}
}

func (t test) delete() {
	s := t.New(t.T)()
	put(t, s, key, []byte("one"))
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	_, err := s.Stat(t.Context(), key)
	wantError(t, "Stat", err, blob.ErrNotFound)
	put(t, s, key, []byte("two"))
	if got := read(t, s, key, 0, -1); string(got) != "two" {
		t.Errorf("got %q, want two", got)
	}
}

func (t test) concurrent() {
	s := t.New(t.T)()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			key, want := fmt.Sprintf("many/%d", i), pattern(600_000, uint64(i))
			w, err := s.Create(t.Context(), key, contentType)
			for p := want; err == nil && len(p) > 0; p = p[100_000:] {
				_, err = w.Write(p[:100_000])
			}
			if err == nil {
				err = w.Commit(t.Context())
			}
			if err != nil {
				t.Errorf("%s: %v", key, err)
				return
			}
			r, err := s.Open(t.Context(), key, 0, -1)
			if err != nil {
				t.Errorf("%s: %v", key, err)
				return
			}
			got, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %v, or content differs", key, err)
			}
		})
	}
	group.Wait()
}
