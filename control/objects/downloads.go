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

// Revoked cuts off the downloads and uploads whose right has ended.
func (s *Service) Revoked(r store.Revocation) {
	s.open.revoked(r)
	s.incoming.revoked(r)
}

func (d *downloads) revoked(r store.Revocation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for one := range d.all {
		if one.grant.EndedBy(r) && one.cut.CompareAndSwap(false, true) {
			d.ended++
		}
	}
}

// Stats is what is being sent, and what was.
type Stats struct {
	Open    int    `help:"Objects being sent"`
	Started uint64 `help:"Requests for signed URLs"`
	Cut     uint64 `help:"Downloads ended by a revocation"`
	Bytes   uint64 `help:"Bytes sent"`

	Uploading  int    `help:"Objects being received"`
	Uploads    uint64 `help:"Uploads by signed URLs, begun"`
	UploadsCut uint64 `help:"Uploads ended by a revocation"`
	Received   uint64 `help:"Bytes received"`
}

// Stats returns the gauge and the counters.
func (s *Service) Stats() Stats {
	var stats Stats
	stats.Open, stats.Started, stats.Cut, stats.Bytes = s.open.count()
	stats.Uploading, stats.Uploads, stats.UploadsCut, stats.Received = s.incoming.count()
	return stats
}

func (d *downloads) count() (open int, started, ended, bytes uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all), d.started, d.ended, d.bytes.Load()
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
