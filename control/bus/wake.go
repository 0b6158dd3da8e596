package bus

import "context"

// Wake wakes the workers of a queue on every node, this one included. A lost
// wake-up costs latency: workers look at their rows now and then anyway.
func (b *Bus) Wake(ctx context.Context, queue string) error {
	return b.Publish(ctx, WakeTopic(queue), nil)
}

// Wakes returns a channel that holds one value after any number of wake-ups of
// the queue that nobody has taken yet, until stop.
func (b *Bus) Wakes(queue string) (wakes <-chan struct{}, stop func() error, err error) {
	c := make(chan struct{}, 1)
	sub, err := b.Subscribe(WakeTopic(queue), func(Msg) {
		select {
		case c <- struct{}{}:
		default: // one waits already
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return c, sub.Unsubscribe, nil
}
