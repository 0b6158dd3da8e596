package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	counterHeader = "Nats-Incr"
	// What the counters of one kind may take; the oldest make room.
	maxCounterBytes = 16 << 20
)

// Counters are numbers that every node adds to, exactly: an addition and its
// result are one step of the server that holds them. They live in memory and
// are forgotten after a while, or earlier when there are very many. They are
// safe for concurrent use.
type Counters struct {
	bus    *Bus
	stream jetstream.StreamConfig

	mu    sync.Mutex // guards ready and js
	ready bool
	js    jetstream.JetStream
}

// Counters returns the counters of a kind, a word, that no addition to is older
// than keep. The stream that holds them is made by the first Add.
func (b *Bus) Counters(kind string, keep time.Duration) *Counters {
	return &Counters{bus: b, stream: jetstream.StreamConfig{
		Name: "securecam_" + kind, Subjects: []string{"securecam.count." + kind + ".>"},
		Storage: jetstream.MemoryStorage, AllowMsgCounter: true, AllowDirect: true,
		MaxAge: keep, MaxBytes: maxCounterBytes, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld,
	}}
}

// Add adds n, which may be negative, to the counter of a key in a period and
// returns the sum. Keys may be any text.
func (c *Counters) Add(ctx context.Context, key string, period int64, n int) (int64, error) {
	sum, err := c.add(ctx, key, period, n)
	if errors.Is(err, jetstream.ErrNoStreamResponse) { // the server that held it was restarted
		c.mu.Lock()
		c.ready = false
		c.mu.Unlock()
		sum, err = c.add(ctx, key, period, n)
	}
	if err != nil {
		return 0, fmt.Errorf("bus: count: %w", known(err))
	}
	return sum, nil
}

func (c *Counters) add(ctx context.Context, key string, period int64, n int) (int64, error) {
	js, err := c.open(ctx)
	if err != nil {
		return 0, err
	}
	digest := sha256.Sum256([]byte(key))
	subject := c.stream.Subjects[0]
	ack, err := js.PublishMsg(ctx, &nats.Msg{
		Subject: subject[:len(subject)-1] + strconv.FormatInt(period, 10) + "." + hex.EncodeToString(digest[:16]),
		Header:  nats.Header{counterHeader: {fmt.Sprintf("%+d", n)}},
	}, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(ack.Value, 10, 64)
}

// open makes the stream unless it is there.
func (c *Counters) open(ctx context.Context) (jetstream.JetStream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready {
		return c.js, nil
	}
	if !c.bus.conn.IsConnected() {
		return nil, nats.ErrDisconnected
	}
	js, err := jetstream.New(c.bus.conn)
	if err != nil {
		return nil, err
	}
	if _, err := js.CreateOrUpdateStream(ctx, c.stream); err != nil {
		return nil, err
	}
	c.js, c.ready = js, true
	return js, nil
}
