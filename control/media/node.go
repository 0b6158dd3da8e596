package media

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/securecam/securecam/control/fault"
)

// Nodes knows where the nodes of an installation are.
type Nodes interface {
	// Locate returns the URL that reaches a node, "" when it has not said, and
	// whether the node is there at all.
	Locate(ctx context.Context, node string) (url string, found bool, err error)
}

var (
	errNodeAway = fault.New(fault.Unavailable, "media_node_unavailable", "The node that holds this media session is away.")
	errNodeURL  = fault.New(fault.Unavailable, "media_node_unknown",
		"Another node holds this media session, and has no NODE_URL to send you to.")
)

// elsewhere says that a media session is another node's.
type elsewhere struct{ base url.URL }

func (e *elsewhere) Error() string { return "media: the media session is held by " + e.base.Host }

// nodeBase returns the URL of the node that holds a media session: of this one
// what origin and Config say, of another what that one has announced.
func (s *Service) nodeBase(ctx context.Context, mediaSessionID, origin string) (base url.URL, here bool, err error) {
	m, err := s.store.MediaSession(ctx, mediaSessionID)
	if err != nil {
		return url.URL{}, false, err
	}
	switch {
	case s.cfg.Nodes == nil || m.NodeID == s.cfg.NodeID:
		base, err = s.base(origin)
		if s.cfg.NodeURL != nil {
			base = *s.cfg.NodeURL
		}
		return base, true, err
	default:
		base, err = s.locate(ctx, m.NodeID)
		return base, false, err
	}
}

func (s *Service) locate(ctx context.Context, node string) (url.URL, error) {
	text, found, err := s.cfg.Nodes.Locate(ctx, node)
	if err != nil {
		return url.URL{}, errNodeAway.With(err)
	}
	if !found {
		return url.URL{}, errNodeAway
	}
	if text == "" {
		return url.URL{}, errNodeURL
	}
	base, err := url.Parse(text)
	if err != nil {
		return url.URL{}, fmt.Errorf("media: url of node %s: %w", node, err)
	}
	base.Path = strings.TrimRight(base.Path, "/")
	return *base, nil
}

// stay returns an *elsewhere unless the media session is this node's.
func (s *Service) stay(ctx context.Context, mediaSessionID string) error {
	if s.cfg.Nodes == nil {
		return nil
	}
	base, here, err := s.nodeBase(ctx, mediaSessionID, "")
	if err != nil || here {
		return gone(err)
	}
	return &elsewhere{base}
}
