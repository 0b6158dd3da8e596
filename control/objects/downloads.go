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
	bytes atomic.Uint64

	mu             sync.Mutex // guards what follows
	all            map[*download]struct{}
	started, ended uint64
}

// begin counts a download in; end or Close counts it out.
func (d *downloads) begin(grant string) *download {
	g, _ := auth.ParseGrant(grant)
	one := &download{from: d, grant: g}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[one] = struct{}{}
	d.started++
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
		if one.grant.EndedBy(r) && one.cut.CompareAndSwap(false, true) {
			s.open.ended++
		}
	}
}

// Stats is what is being sent, and what was.
type Stats struct {
	Open    int    `help:"Objects being sent"`
	Started uint64 `help:"Requests for signed URLs"`
	Cut     uint64 `help:"Downloads ended by a revocation"`
	Bytes   uint64 `help:"Bytes sent"`
}

// Stats returns the gauge and the counters.
func (s *Service) Stats() Stats {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	return Stats{Open: len(s.open.all), Started: s.open.started, Cut: s.open.ended, Bytes: s.open.bytes.Load()}
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
	n, err := d.body.Read(p)
	d.from.bytes.Add(uint64(n))
	return n, err
}

// Close counts the download out.
func (d *download) Close() error {
	d.from.end(d)
	return d.body.Close()
}
