// Package datachannel exchanges messages with one WebRTC peer over data channels (RFC 8831) that the peer opens
// (RFC 8832). What it takes is bounded in size, number and rate, and what waits for the peer, too.
package datachannel

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/logging"
	"github.com/pion/sctp"
	"golang.org/x/time/rate"
)

const (
	// maxChannels is how many channels one peer may have open.
	maxChannels = 4
	// maxOpenRate and maxOpenBurst are how many channels a peer may open, a second and at once: each costs a goroutine and
	// a buffer.
	maxOpenRate, maxOpenBurst = 2, 16
	// queueLength is how many messages wait for a peer that takes them slowly.
	queueLength = 64
	// maxRate and maxBurst are how many messages are taken from a peer, a second and at once.
	maxRate, maxBurst = 50, 100
	// maxRefused is how many messages may come beyond that, at as many a second, before the peer is sent away.
	maxRefused = 1000
	// receiveBuffer is what the association holds of messages that are not complete or not read yet.
	receiveBuffer = 128 << 10
	// writeTimeout is how long a peer may take to make room for a message.
	writeTimeout = 5 * time.Second
)

// Message is one message of a channel. Text says that it is UTF-8.
type Message struct {
	Text bool
	Data []byte
}

// Counters count messages. They may be shared by many Peers.
type Counters struct {
	Received, Sent atomic.Uint64
	Refused        atomic.Uint64 // came too fast, were too long, or on too many channels; channels that were opened too fast
	Dropped        atomic.Uint64 // the peer did not take them in time
	Unheard        atomic.Uint64 // the peer has no channel, which many never have
}

// Config is what a Peer needs; nothing has a default.
type Config struct {
	// MaxMessage is how many bytes a message of the peer may have, MaxSend one to the peer.
	MaxMessage, MaxSend int
	// Receive is called for every message, one at a time for each channel, and must not wait for the peer. The data are
	// the callee's.
	Receive func(Message)
	// Answer is called instead of Receive for messages on channels with this label, if it is not nil, and returns what is
	// written back on the same channel as text. Send does not use such channels.
	Answer func(Message) []byte
	Label  string
	// Flooded is called, once, when the peer has been sending far too much: Serve is about to return.
	Flooded  func()
	Counters *Counters
}

// Peer is the data channels of one peer. Its methods may be called from any goroutine; Serve is called once.
type Peer struct {
	cfg   Config
	queue chan Message
	limit *rate.Limiter // of messages
	opens *rate.Limiter // of channels
	grace *rate.Limiter // of refusals

	mu       sync.Mutex // guards what follows
	channels []*datachannel.DataChannel
	opening  int // streams that are channels soon, or not
	flooded  bool
}

// New returns a Peer that Serve connects.
func New(cfg Config) *Peer {
	return &Peer{
		cfg: cfg, queue: make(chan Message, queueLength),
		limit: rate.NewLimiter(maxRate, maxBurst), opens: rate.NewLimiter(maxOpenRate, maxOpenBurst), grace: rate.NewLimiter(maxRate, maxRefused),
	}
}

// Send queues a message for the channel that the peer opened last. It never waits, and reports false, having counted
// it, if there is no channel or too much waits already. The Peer keeps the data.
func (p *Peer) Send(m Message) bool {
	if !p.Open() {
		p.cfg.Counters.Unheard.Add(1)
		return false
	}
	if len(m.Data) <= p.cfg.MaxSend {
		select {
		case p.queue <- m:
			return true
		default:
		}
	}
	p.cfg.Counters.Dropped.Add(1)
	return false
}

// Open reports whether the peer has a channel open.
func (p *Peer) Open() bool { return p.channel() != nil }

// Serve is the peer's SCTP association (RFC 8261), on conn, until that or the association ends. It leaves no goroutine.
func (p *Peer) Serve(conn net.Conn) {
	association, err := sctp.ServerWithOptions(sctp.Config{
		NetConn: conn, LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard},
		MaxReceiveBufferSize: receiveBuffer, MaxMessageSize: uint32(p.cfg.MaxSend), BlockWrite: true,
	})
	if err != nil {
		return // the connection is over, or never was SCTP
	}
	var loops sync.WaitGroup
	done := make(chan struct{})
	loops.Go(func() { p.write(done) })
	for {
		stream, err := association.AcceptStream()
		if err != nil || !p.admit(stream, &loops, association) {
			break
		}
	}
	close(done)
	_ = association.Close() // whatever ended it has been told
	loops.Wait()
}

// admit reads a stream as a channel, if the peer has not too many, nor opens them too fast. It reports false when the peer is sent away.
func (p *Peer) admit(stream *sctp.Stream, loops *sync.WaitGroup, association *sctp.Association) bool {
	p.mu.Lock()
	full := len(p.channels)+p.opening >= maxChannels
	allowed := p.opens.Allow()
	if !full && allowed {
		p.opening++
	}
	p.mu.Unlock()
	if full || !allowed {
		_ = stream.Close()
		return !p.refuse()
	}
	loops.Go(func() {
		if p.read(stream) {
			_ = association.Close()
		}
	})
	return true
}

// read takes a channel's messages until it closes. It reports whether the peer has to go.
func (p *Peer) read(stream *sctp.Stream) (flooded bool) {
	stream.SetDefaultPayloadType(sctp.PayloadTypeWebRTCBinary)
	channel, err := datachannel.Server(stream, &datachannel.Config{
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard},
	})
	p.opened(channel, err)
	if err != nil {
		_ = stream.Close()
		return p.refuse()
	}
	defer p.closed(channel)
	buffer := make([]byte, p.cfg.MaxMessage)
	for {
		n, text, err := channel.ReadDataChannel(buffer)
		switch {
		case errors.Is(err, io.ErrShortBuffer):
			return p.refuse() // the rest of it cannot be told from the next
		case err != nil:
			return false
		case !p.limit.Allow():
			if p.refuse() {
				return true
			}
			continue
		}
		p.cfg.Counters.Received.Add(1)
		m := Message{Text: text, Data: append(make([]byte, 0, n), buffer[:n]...)}
		if p.answers(channel) {
			p.put(channel, Message{Text: true, Data: p.cfg.Answer(m)})
		} else {
			p.cfg.Receive(m)
		}
	}
}

// answers reports whether what comes on a channel is for us.
func (p *Peer) answers(c *datachannel.DataChannel) bool {
	return p.cfg.Answer != nil && c.Label == p.cfg.Label
}

// refuse counts a message that is not taken, and reports whether the peer has to go.
func (p *Peer) refuse() bool {
	p.cfg.Counters.Refused.Add(1)
	if p.grace.Allow() {
		return false
	}
	p.mu.Lock()
	first := !p.flooded
	p.flooded = true
	p.mu.Unlock()
	if first {
		p.cfg.Flooded()
	}
	return true
}

// opened makes a channel known, if it is one.
func (p *Peer) opened(c *datachannel.DataChannel, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening--
	if err == nil {
		p.channels = append(p.channels, c)
	}
}

func (p *Peer) closed(c *datachannel.DataChannel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.channels {
		if o == c {
			p.channels = append(p.channels[:i], p.channels[i+1:]...)
			break
		}
	}
	_ = c.Close()
}

// channel returns the one that was opened last for the peer's application, or nil.
func (p *Peer) channel() *datachannel.DataChannel {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Backward(p.channels) {
		if !p.answers(c) {
			return c
		}
	}
	return nil
}

// write sends what is queued until done is closed. A peer that makes no room in time loses the message.
func (p *Peer) write(done <-chan struct{}) {
	for {
		var m Message
		select {
		case <-done:
			return
		case m = <-p.queue:
		}
		c := p.channel()
		if c == nil {
			p.cfg.Counters.Dropped.Add(1)
			continue
		}
		p.put(c, m)
	}
}

// put writes a message to a channel, unless the peer makes no room in time.
func (p *Peer) put(c *datachannel.DataChannel, m Message) {
	err := c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = c.WriteDataChannel(m.Data, m.Text)
	}
	if err != nil {
		p.cfg.Counters.Dropped.Add(1)
		return
	}
	p.cfg.Counters.Sent.Add(1)
}
