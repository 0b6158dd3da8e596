package bus

import (
	"context"
	"fmt"
)

// Gather sends data to every subscriber of subject and gives take their
// responses as they come, until one is enough or ctx ends: how many there will
// be nobody knows. Without a subscriber anywhere it returns ErrNoResponders at
// once; when ctx ends first, its error, after what take has got.
func (b *Bus) Gather(ctx context.Context, subject string, data []byte, take func(response []byte) (enough bool)) error {
	if !validSubject(subject, false) {
		return fmt.Errorf("%w: %q", ErrBadSubject, subject)
	}
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, defaultRequestTimeout)
		defer cancel()
		ctx = bounded
	}
	responses, err := b.conn.SubscribeSync(b.conn.NewInbox())
	if err != nil {
		return fmt.Errorf("bus: gather %s: %w", subject, known(err))
	}
	// Responses that come later find nobody, which is fine, and so is a
	// connection that took the subscription with it.
	defer func() { _ = responses.Unsubscribe() }()
	if err := b.conn.PublishRequest(subject, responses.Subject, data); err != nil {
		return fmt.Errorf("bus: gather %s: %w", subject, known(err))
	}
	for {
		m, err := responses.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("bus: gather %s: %w", subject, known(err))
		}
		if take(m.Data) {
			return nil
		}
	}
}
