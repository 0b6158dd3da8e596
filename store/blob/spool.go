package blob

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

const (
	journalName = "journal.json"
	newPrefix   = "new-"
	partFormat  = "part-%05d"
)

// spool is the folder in which the bytes of unfinished objects wait: one
// entry an object, one file a part.
type spool struct {
	dir     string
	max     int64
	bytes   atomic.Int64 // in all entries
	refused atomic.Uint64
}

// openSpool counts what earlier processes left, so that it counts against max
// until it is resumed or deleted.
func openSpool(dir string, limit int64) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob: spool: %w", err)
	}
	s := &spool{dir: dir, max: limit}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("blob: spool: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := s.count(filepath.Join(dir, entry.Name())); err != nil {
			return nil, fmt.Errorf("blob: spool: %w", err)
		}
	}
	return s, nil
}

// count adds the bytes of an entry, or discards what was half made or half
// removed when its process was killed.
func (s *spool) count(dir string) error {
	_, err := os.Stat(filepath.Join(dir, journalName))
	if strings.HasPrefix(filepath.Base(dir), newPrefix) || errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(dir)
	}
	segments, err := listSegments(dir)
	for _, g := range segments {
		s.bytes.Add(g.size)
	}
	return err
}

// take makes room for n bytes, or counts a refusal.
func (s *spool) take(n int64) bool {
	if s.bytes.Add(n) > s.max {
		s.bytes.Add(-n)
		s.refused.Add(1)
		return false
	}
	return true
}

func (s *spool) give(n int64) { s.bytes.Add(-n) }

func (s *spool) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16]))
}

// segment is a part of an object while it lies in the spool.
type segment struct {
	number int // the part number, from 1
	start  int64
	size   int64
}

// journal is what an entry's bytes do not say by themselves.
type journal struct {
	Key         string         `json:"key"`
	ContentType string         `json:"contentType"`
	Mark        string         `json:"mark"` // tells the object of this writer from another's
	UploadID    string         `json:"uploadId,omitempty"`
	Uploaded    []uploadedPart `json:"uploaded,omitempty"` // from part 2 on, without gaps; their files are gone
}

type uploadedPart struct {
	ETag string `json:"etag"`
	Size int64  `json:"size"`
}

// spoolEntry is one object's folder in the spool.
type spoolEntry struct {
	spool    *spool
	dir      string
	journal  journal
	segments []segment // as they were found; the last is still open
}

// create makes an entry, whole or not at all, with an empty part 1. It
// returns ErrExists when there is one.
func (s *spool) create(key, contentType string) (*spoolEntry, error) {
	dir, err := os.MkdirTemp(s.dir, newPrefix)
	if err != nil {
		return nil, fmt.Errorf("blob: spool: %w", err)
	}
	e := &spoolEntry{
		spool: s, dir: dir, segments: []segment{{number: 1}},
		journal: journal{Key: key, ContentType: contentType, Mark: rand.Text()},
	}
	err = errors.Join(e.save(), os.WriteFile(e.path(1), nil, 0o600))
	if err == nil {
		e.dir = s.path(key)
		if err = os.Rename(dir, e.dir); errors.Is(err, fs.ErrExist) {
			err = ErrExists
		}
	}
	if err != nil {
		return nil, fmt.Errorf("blob: spool: %w", errors.Join(err, os.RemoveAll(dir)))
	}
	return e, nil
}

// load finds the entry that a killed process left for key.
func (s *spool) load(key string) (*spoolEntry, error) {
	e := &spoolEntry{spool: s, dir: s.path(key)}
	raw, err := os.ReadFile(filepath.Join(e.dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err == nil {
		err = json.Unmarshal(raw, &e.journal)
	}
	if err != nil {
		return nil, fmt.Errorf("blob: spool: journal of %s: %w", key, err)
	}
	segments, err := listSegments(e.dir)
	if err != nil {
		return nil, fmt.Errorf("blob: spool: %w", err)
	}
	for _, g := range segments {
		if g.number > 1 && g.number <= 1+len(e.journal.Uploaded) { // killed before it was removed
			if err := e.removeSegment(g); err != nil {
				return nil, err
			}
			continue
		}
		e.segments = append(e.segments, g)
	}
	return e, e.place()
}

// place gives the segments their offsets and checks that none is missing.
func (e *spoolEntry) place() error {
	next := 1
	var offset int64
	for i := range e.segments {
		g := &e.segments[i]
		if g.number != next {
			break
		}
		g.start = offset
		offset += g.size
		next++
		if g.number > 1 {
			continue
		}
		for _, part := range e.journal.Uploaded {
			offset += part.Size
			next++
		}
	}
	last := 0
	if len(e.segments) > 0 {
		last = e.segments[len(e.segments)-1].number
	}
	if next != last+1 {
		return fmt.Errorf("blob: spool: part %d of %s is missing", next, e.journal.Key)
	}
	return nil
}

func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir) // sorted by name, so by number
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, entry := range entries {
		var g segment
		if _, err := fmt.Sscanf(entry.Name(), partFormat, &g.number); err != nil {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		g.size = info.Size()
		segments = append(segments, g)
	}
	return segments, nil
}

func (e *spoolEntry) path(number int) string {
	return filepath.Join(e.dir, fmt.Sprintf(partFormat, number))
}

// save replaces the journal. It is synced because the files of uploaded parts
// go away on its word.
func (e *spoolEntry) save() error {
	raw, err := json.Marshal(e.journal)
	if err != nil {
		return err
	}
	name := filepath.Join(e.dir, journalName)
	f, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("blob: spool: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("blob: spool: %w", err)
	}
	return nil
}

func (e *spoolEntry) removeSegment(g segment) error {
	if err := os.Remove(e.path(g.number)); err != nil {
		return fmt.Errorf("blob: spool: %w", err)
	}
	e.spool.give(g.size)
	return nil
}

// remove discards the entry. The journal goes first: without it the rest is
// nothing.
func (e *spoolEntry) remove() error {
	segments, err := listSegments(e.dir)
	if err == nil {
		err = errors.Join(os.Remove(filepath.Join(e.dir, journalName)), os.RemoveAll(e.dir))
	}
	if err != nil {
		return fmt.Errorf("blob: spool: %w", err)
	}
	for _, g := range segments {
		e.spool.give(g.size)
	}
	return nil
}
