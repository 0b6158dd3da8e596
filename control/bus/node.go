package bus

import (
	"context"
	"errors"
	"log/slog"
)

// Announce answers whoever looks for this node with its URL, which may be
// empty, until stop.
func (b *Bus) Announce(node, url string) (stop func() error, err error) {
	sub, err := b.Subscribe(NodeTopic(node), func(m Msg) {
		if err := m.Respond([]byte(url)); err != nil && !errors.Is(err, ErrClosed) {
			b.log.Warn("node not answered", slog.Any("err", err))
		}
	})
	if err != nil {
		return nil, err
	}
	return sub.Unsubscribe, nil
}

// Locate returns the URL that a node announced, which may be empty, and whether
// the node is there at all.
func (b *Bus) Locate(ctx context.Context, node string) (url string, found bool, err error) {
	answer, err := b.Request(ctx, NodeTopic(node), nil)
	if errors.Is(err, ErrNoResponders) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return string(answer), true, nil
}
