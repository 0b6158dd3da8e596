package impair

import (
	"container/heap"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxFlows bounds the clients of a proxy; the one that was silent for longest makes room.
	maxFlows = 64
	// maxWaiting bounds the datagrams on their way.
	maxWaiting = 1 << 16
	// maxDatagram is more than any datagram that crosses a network unfragmented.
	maxDatagram = 2048
	// socketBuffer holds what comes while this program does something else.
	socketBuffer = 1 << 20
)

// Config says where a Proxy stands and how bad it is.
type Config struct {
	// Listen is where clients send to; zero means a free port of 127.0.0.1.
	Listen netip.AddrPort
	// Server is where their datagrams go. It may be zero until Aim is called.
	Server netip.AddrPort
	// Up is from clients to the server, Down the other way.
	Up, Down Link
	// Seed decides what happens to which datagram.
	Seed uint64
}

// Proxy is a link between clients and one server. All clients share the link, its rate and its queue; each has a socket
// of its own towards the server, as behind a NAT. It is safe for concurrent use.
type Proxy struct {
	listen *net.UDPConn
	start  time.Time
	wake   chan struct{}
	loops  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	server   netip.AddrPort
	flows    map[netip.AddrPort]*flow
	up, down *lane
	waiting  queue
	number   uint64
	closed   bool
}

// flow is one client and its socket towards the server.
type flow struct {
	client netip.AddrPort
	heard  time.Duration
	conn   *net.UDPConn // replaced by Rebind
}

// waiting is a datagram on its way.
type waiting struct {
	at     time.Duration
	number uint64 // for those that arrive together
	flow   *flow
	up     bool
	data   []byte
}

// Start opens a proxy, which runs until Close.
func Start(cfg Config) (*Proxy, error) {
	if err := errors.Join(cfg.Up.Check(), cfg.Down.Check()); err != nil {
		return nil, err
	}
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Listen))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(socketBuffer) // the system may allow less
	p := &Proxy{
		listen: conn, start: time.Now(), wake: make(chan struct{}, 1), server: cfg.Server,
		flows: map[netip.AddrPort]*flow{}, up: newLane(cfg.Up, cfg.Seed, 0), down: newLane(cfg.Down, cfg.Seed, 1),
	}
	p.loops.Go(p.readClients)
	p.loops.Go(p.deliver)
	return p, nil
}

// Addr is where clients send to.
func (p *Proxy) Addr() netip.AddrPort {
	a, _ := p.listen.LocalAddr().(*net.UDPAddr)
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Aim has the datagrams of clients that come from now on go to server.
func (p *Proxy) Aim(server netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// Set changes both directions. What is on its way arrives as planned before.
func (p *Proxy) Set(up, down Link) error {
	if err := errors.Join(up.Check(), down.Check()); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up.change(up)
	p.down.change(down)
	return nil
}

// Links returns both directions as they are.
func (p *Proxy) Links() (up, down Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up.link, p.down.link
}

// Counts returns what happened so far in both directions.
func (p *Proxy) Counts() (up, down Counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up.counts, p.down.counts
}

// Rebind gives every client another port towards the server, as a NAT does that forgot its mappings: what the server
// still sends to the old port is gone.
func (p *Proxy) Rebind() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.flows {
		conn, err := p.open()
		if err != nil {
			return err
		}
		_ = f.conn.Close() // its reader ends
		f.conn = conn
		p.loops.Go(func() { p.readServer(f, conn) })
	}
	return nil
}

// Close ends the proxy and waits for its goroutines. What is on its way is dropped.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for _, f := range p.flows {
		_ = f.conn.Close()
	}
	p.mu.Unlock()
	err := p.listen.Close()
	p.nudge()
	p.loops.Wait()
	return err
}

// open makes a socket towards the server.
func (p *Proxy) open() (*net.UDPConn, error) {
	if p.closed {
		return nil, net.ErrClosed
	}
	local := net.UDPAddr{IP: net.IPv4zero}
	if p.server.Addr().Is6() {
		local.IP = net.IPv6unspecified
	}
	if p.server.Addr().IsLoopback() {
		local.IP = p.server.Addr().AsSlice()
	}
	conn, err := net.ListenUDP("udp", &local)
	if err == nil {
		_ = conn.SetReadBuffer(socketBuffer)
	}
	return conn, err
}

func (p *Proxy) readClients() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := p.listen.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // a client that is gone may have been answered by ICMP
			continue
		}
		p.accept(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n])
	}
}

// accept takes a datagram of a client.
func (p *Proxy) accept(from netip.AddrPort, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.flows[from]
	if f == nil {
		if f = p.admit(from); f == nil {
			p.up.counts.Failed++
			return
		}
	}
	f.heard = time.Since(p.start)
	p.schedule(p.up, f, true, b)
}

// admit makes a flow for a new client; nil if there is no server, or no socket to be had. Caller holds mu.
func (p *Proxy) admit(from netip.AddrPort) *flow {
	if !p.server.IsValid() {
		return nil
	}
	conn, err := p.open()
	if err != nil {
		return nil
	}
	if len(p.flows) >= maxFlows {
		var oldest *flow
		for _, f := range p.flows {
			if oldest == nil || f.heard < oldest.heard {
				oldest = f
			}
		}
		_ = oldest.conn.Close()
		delete(p.flows, oldest.client)
	}
	f := &flow{client: from, conn: conn}
	p.flows[from] = f
	p.loops.Go(func() { p.readServer(f, conn) })
	return f
}

// readServer takes what the server sends to one port of a client.
func (p *Proxy) readServer(f *flow, conn *net.UDPConn) {
	buf := make([]byte, maxDatagram)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.mu.Lock()
		p.schedule(p.down, f, false, buf[:n])
		p.mu.Unlock()
	}
}

// schedule plans a datagram, which is copied. Caller holds mu.
func (p *Proxy) schedule(l *lane, f *flow, up bool, b []byte) {
	at, copies := l.plan(time.Since(p.start), len(b))
	for range copies {
		if len(p.waiting) >= maxWaiting {
			l.counts.Failed++
			return
		}
		p.number++
		heap.Push(&p.waiting, &waiting{at: at, number: p.number, flow: f, up: up, data: append([]byte(nil), b...)})
	}
	if copies > 0 && p.waiting[0].at == at {
		p.nudge()
	}
}

func (p *Proxy) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// deliver sends every datagram on when its time has come.
func (p *Proxy) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait, ok := p.send()
		if !ok {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// send sends what is due, and returns how long the next datagram has to wait.
func (p *Proxy) send() (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed {
		if len(p.waiting) == 0 {
			return time.Hour, true
		}
		if wait := p.waiting[0].at - time.Since(p.start); wait > 0 {
			return wait, true
		}
		w, _ := heap.Pop(&p.waiting).(*waiting)
		conn, to, counts := w.flow.conn, p.server, &p.up.counts
		if !w.up {
			conn, to, counts = p.listen, w.flow.client, &p.down.counts
		}
		if _, err := conn.WriteToUDPAddrPort(w.data, to); err != nil {
			counts.Failed++
		}
	}
	return 0, false
}

// queue orders datagrams by their arrival.
type queue []*waiting

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].number < q[j].number
}
func (q *queue) Push(x any) { *q = append(*q, x.(*waiting)) } // only schedule pushes
func (q *queue) Pop() any {
	old := *q
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return w
}
