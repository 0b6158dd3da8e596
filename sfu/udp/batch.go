package udp

// Batch collects datagrams for many receivers and hands them to the kernel
// together. Consecutive datagrams of one length to one receiver become one
// message that the kernel, or the network card, splits. It belongs to one
// goroutine.
type Batch struct {
	conn  *Conn
	arena []byte
	used  int
	msgs  [writeMessages]message
	count int
	sys   batchSystem
}

// message is a run of equally long segments to one receiver; only the last
// may be shorter.
type message struct {
	to       *Addr
	start    int // in the arena
	size     int
	segment  int
	segments int
	open     bool // takes more segments
}

// NewBatch returns an empty batch of its own memory, about 256 KiB.
func (c *Conn) NewBatch() *Batch {
	return &Batch{conn: c, arena: make([]byte, arenaSize)}
}

// Append makes room for a datagram of n bytes to one receiver and returns it,
// for the caller to fill before the next call. When the batch is full it is
// flushed first. It returns nil for n beyond MaxSegment. One Addr belongs to one
// Batch, which notes there what the way to it cannot do.
func (b *Batch) Append(to *Addr, n int) []byte {
	if n <= 0 || n > MaxSegment {
		return nil
	}
	if b.used+n > len(b.arena) {
		b.Flush()
	}
	if m := b.last(); m != nil && m.takes(to, n) && !to.whole && b.conn.offload.Load() {
		m.size += n
		m.segments++
		m.open = n == m.segment
		return b.take(n)
	}
	if b.count == writeMessages {
		b.Flush()
	}
	b.msgs[b.count] = message{to: to, start: b.used, size: n, segment: n, segments: 1, open: true}
	b.count++
	return b.take(n)
}

// Flush sends everything. What the kernel refuses is lost and counted, as on
// the network.
func (b *Batch) Flush() {
	if b.count == 0 {
		return
	}
	b.conn.socket.flush(b.conn, b)
	b.used, b.count = 0, 0
}

// Len returns the number of datagrams that wait for Flush.
func (b *Batch) Len() int {
	n := 0
	for i := range b.count {
		n += b.msgs[i].segments
	}
	return n
}

func (b *Batch) last() *message {
	if b.count == 0 {
		return nil
	}
	return &b.msgs[b.count-1]
}

func (b *Batch) take(n int) []byte {
	s := b.arena[b.used : b.used+n : b.used+n]
	b.used += n
	return s
}

func (m *message) takes(to *Addr, n int) bool {
	return m.open && m.to == to && n <= m.segment && m.segments < maxSegments && m.size+n <= maxMessage
}
