// Package blob keeps objects: recordings, uploads. It has two stores, Disk
// and MinIO, that pass the same suite (package blobtest).
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// HeadSize is the length of the region at the front of an object that its
// Writer may read and write again until Commit.
const HeadSize = 256 << 10

// maxKeyLength and maxNameLength keep keys within what S3 (1024 bytes) and
// common file systems (255 bytes a name) take.
const (
	maxKeyLength  = 512
	maxNameLength = 200
)

// The errors of every Store. ErrNotFound and ErrExists are also
// fs.ErrNotExist and fs.ErrExist, for callers that do not import this package.
var (
	ErrNotFound  = fmt.Errorf("blob: no such object (%w)", fs.ErrNotExist)
	ErrExists    = fmt.Errorf("blob: object exists (%w)", fs.ErrExist)
	ErrClosed    = fmt.Errorf("blob: writer or store closed (%w)", fs.ErrClosed)
	ErrBadKey    = fmt.Errorf("blob: bad key (%w)", fs.ErrInvalid)
	ErrRange     = fmt.Errorf("blob: offset out of range (%w)", fs.ErrInvalid)
	ErrSignature = fmt.Errorf("blob: bad or expired signature (%w)", fs.ErrPermission)
	ErrBusy      = fmt.Errorf("blob: object is being written")
	ErrSpoolFull = fmt.Errorf("blob: spool is full")
	ErrLost      = fmt.Errorf("blob: object store lost uploaded parts")
	ErrTooLarge  = fmt.Errorf("blob: object too large")
)

// Store keeps objects under keys. It is safe for concurrent use.
//
// A key is a slash-separated path of names made of letters, digits, '.', '_'
// and '-'; any other key is ErrBadKey. A key must not continue another
// object's key ("a" and "a/b"). An object appears when its Writer commits and
// never changes afterwards.
type Store interface {
	// Create starts an object. It returns ErrExists when the object exists,
	// or when a killed process left an unfinished one.
	Create(ctx context.Context, key, contentType string) (Writer, error)
	// Resume continues what a killed process left: every byte of every Write
	// that had returned is there, and perhaps some of the last. It returns
	// ErrNotFound when there is nothing unfinished, ErrBusy when the Writer
	// still lives in this process.
	Resume(ctx context.Context, key string) (Writer, error)
	// Stat describes a committed object, or returns ErrNotFound.
	Stat(ctx context.Context, key string) (Info, error)
	// Open reads n bytes of a committed object from off, fewer where it ends
	// before; a negative n reads to the end. off beyond the end is ErrRange.
	// The caller closes the reader.
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	// Delete removes an object and what a killed process left of one. That
	// there is neither is no error.
	Delete(ctx context.Context, key string) error
	// SignGet returns a URL that lets anybody GET the object until expires. It
	// does not look whether the object exists.
	SignGet(ctx context.Context, key string, o SignOptions) (url string, expires time.Time, err error)
	// SignPut returns how anybody may PUT one object until then: a URL, and the
	// header that must come with it. The body has exactly o.Size bytes, and the
	// key must hold no object yet.
	SignPut(ctx context.Context, key string, o PutOptions) (SignedPut, error)
	// List returns what is directly in a folder of the keys, "" being the top,
	// in the order of the names, at most limit (and 1000) names behind after.
	// A folder that is not there is empty.
	List(ctx context.Context, folder, after string, limit int) ([]Entry, error)
	// Ping says whether the store can be reached.
	Ping(ctx context.Context) error
	// Close stops the store's work and waits for it. Writers that are not
	// committed stay resumable.
	Close() error
}

// Writer appends to an object that nobody sees before Commit. Its methods are
// for one goroutine. A Writer must end with Commit or Abort; one that does
// not is what Resume continues.
type Writer interface {
	// Write appends all of p or nothing.
	io.Writer
	// WriteAt and ReadAt reach only bytes already written inside the first
	// HeadSize bytes; anything else is ErrRange.
	io.WriterAt
	io.ReaderAt
	// Size returns the number of bytes written.
	Size() int64
	// Truncate cuts the object to size, which lies inside the last Write (of
	// the killed process too, after Resume), or returns ErrRange.
	Truncate(size int64) error
	// Commit publishes the object. When it fails because ctx is done or the
	// store is unreachable, it may be called again, and so may Resume in a
	// later process. After it succeeded, it does nothing.
	Commit(ctx context.Context) error
	// Abort discards everything. It does nothing after a successful Commit.
	Abort(ctx context.Context) error
}

// Info describes a committed object.
type Info struct {
	Key         string
	Size        int64 // bytes
	ContentType string
	ModTime     time.Time
}

// SignOptions are what a signed URL allows besides reading.
type SignOptions struct {
	TTL      time.Duration
	Filename string // offered as a download under this name; empty shows it inline
	// Grant says by whose right the URL was given out, so that it can be
	// revoked: whoever serves it asks whether that still stands. MinIO does
	// not ask, and ignores it.
	Grant string
}

// PutOptions are what a signed URL allows to upload.
type PutOptions struct {
	TTL         time.Duration
	ContentType string
	Size        int64  // bytes, 1 to MaxPut
	Grant       string // as in SignOptions
}

// MaxPut is the largest object that one PUT makes: what S3 takes.
const MaxPut = 5 << 30

// SignedPut is how to upload an object.
type SignedPut struct {
	URL     string
	Header  map[string]string // to send, beside Content-Length
	Expires time.Time
}

const (
	maxTypeLength = 100
	headerType    = "Content-Type"
	headerNew     = "If-None-Match" // with "*": RFC 9110, section 13.1.2
)

func checkPut(key string, o PutOptions) error {
	if err := checkSign(key, SignOptions{TTL: o.TTL, Grant: o.Grant}); err != nil {
		return err
	}
	if o.Size < 1 || o.Size > MaxPut || o.ContentType == "" || len(o.ContentType) > maxTypeLength {
		return errors.New("blob: bad size or content type")
	}
	return nil
}

// checkKey refuses keys that could mean anything but one object. The allowed
// characters need no escaping in a URL, a file name or an S3 request.
func checkKey(key string) error {
	if len(key) > maxKeyLength || key == "." || !fs.ValidPath(key) {
		return ErrBadKey
	}
	for name := range strings.SplitSeq(key, "/") {
		if len(name) > maxNameLength {
			return ErrBadKey
		}
	}
	for _, c := range []byte(key) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("._-/", rune(c)) {
			return ErrBadKey
		}
	}
	return nil
}

// checkHead returns ErrRange unless n bytes at off lie inside the head of an
// object of the given size.
func checkHead(off int64, n int, size int64) error {
	if off < 0 || off > HeadSize || off+int64(n) > min(size, HeadSize) {
		return ErrRange
	}
	return nil
}

// claims are the keys that have a living Writer in this process. They keep
// Resume from continuing a Writer that was never left.
type claims struct {
	mu   sync.Mutex // guards keys
	keys map[string]struct{}
}

func (c *claims) take(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.keys[key]; taken {
		return false
	}
	if c.keys == nil {
		c.keys = make(map[string]struct{})
	}
	c.keys[key] = struct{}{}
	return true
}

func (c *claims) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, key)
}
