package wire

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Poller owns sockets and the goroutines that read them.
type Poller struct {
	cfg      Config
	readers  []*reader
	next     atomic.Uint64 // reader of the next socket
	interval atomic.Int64  // nanoseconds between two looks; 0 waits in the kernel
	closed   atomic.Bool
	running  sync.WaitGroup
}

// reader is one goroutine with its own epoll instance.
type reader struct {
	poller *Poller
	epoll  int
	buffer *buffer

	mu      sync.Mutex
	sockets map[int32]*Socket
}

// NewPoller starts the readers.
func NewPoller(cfg Config) (*Poller, error) {
	p := &Poller{cfg: cfg.withDefaults()}
	for range p.cfg.Readers {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("wire: epoll: %w", err), p.Close())
		}
		r := &reader{poller: p, epoll: fd, buffer: newBuffer(), sockets: make(map[int32]*Socket)}
		p.readers = append(p.readers, r)
		p.running.Go(r.run)
	}
	return p, nil
}

// SetInterval has the readers look at the sockets once per d instead of being
// woken by each datagram, so that the wake-ups, which on loopback the sender
// pays, do not disturb a measurement. 0 goes back to being woken.
func (p *Poller) SetInterval(d time.Duration) { p.interval.Store(int64(d)) }

// Close ends the readers and then the sockets.
func (p *Poller) Close() error {
	p.closed.Store(true)
	p.running.Wait()
	var failed error
	for _, r := range p.readers {
		for _, s := range r.all() {
			failed = errors.Join(failed, s.Close())
		}
		failed = errors.Join(failed, unix.Close(r.epoll))
	}
	p.readers = nil
	return failed
}

func (r *reader) all() []*Socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Socket, 0, len(r.sockets))
	for _, s := range r.sockets {
		all = append(all, s)
	}
	return all
}

func (r *reader) run() {
	events := make([]unix.EpollEvent, 256)
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for !r.poller.closed.Load() {
		interval := time.Duration(r.poller.interval.Load())
		timeout := 0
		if interval == 0 {
			timeout = int(waitLimit / time.Millisecond)
		}
		n, err := unix.EpollWait(r.epoll, events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // the instance itself is broken: only Close does that
		}
		for i := range max(n, 0) {
			r.read(events[i].Fd)
		}
		if n < len(events) && interval > 0 {
			pause.Reset(min(interval, waitLimit))
			<-pause.C
		}
	}
}

// read takes what one socket holds.
func (r *reader) read(fd int32) {
	r.mu.Lock()
	s := r.sockets[fd]
	r.mu.Unlock()
	if s == nil || !s.enter() {
		return
	}
	defer s.leave()
	for r.buffer.fill(s.fd) == len(r.buffer.msgs) {
		r.buffer.deliver(s)
	}
	r.buffer.deliver(s)
}

func (r *reader) add(s *Socket) error {
	r.mu.Lock()
	r.sockets[int32(s.fd)] = s
	r.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}
	return unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, s.fd, &event)
}

func (r *reader) remove(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sockets[int32(s.fd)] == s {
		delete(r.sockets, int32(s.fd))
	}
}
