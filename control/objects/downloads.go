package objects

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
)

// downloads are the bodies that are being sent, so that a revocation ends them.
type downloads struct {
	mu  sync.Mutex // guards all
	all map[*download]struct{}
}

// begin counts a download in; end or Close counts it out.
func (d *downloads) begin(grant string) *download {
	g, _ := auth.ParseGrant(grant)
	one := &download{from: d, grant: g}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[one] = struct{}{}
	return one
}

func (d *downloads) end(one *download) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, one)
}

// Revoked cuts off the downloads whose right has ended.
func (s *Service) Revoked(r store.Revocation) {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	for one := range s.open.all {
		if one.grant.EndedBy(r) {
			one.cut.Store(true)
		}
	}
}

// Downloads returns how many objects are being sent.
func (s *Service) Downloads() int {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	return len(s.open.all)
}

// download is the body of an answer.
type download struct {
	from  *downloads
	grant auth.Grant
	cut   atomic.Bool
	body  io.ReadCloser // set before the first Read
}

var errCut = errors.New("objects: the right to this download has ended")

// Read fails once the right has ended, which ends the connection.
func (d *download) Read(p []byte) (int, error) {
	if d.cut.Load() {
		return 0, errCut
	}
	return d.body.Read(p)
}

// Close counts the download out.
func (d *download) Close() error {
	d.from.end(d)
	return d.body.Close()
}
