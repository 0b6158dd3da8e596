package media

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/fault"
)

// codeUnsupported is the code of the SFU's fault for an offer that it
// understands and cannot serve: worth an offer of our own.
const codeUnsupported = "unsupported_offer"

func unsupported(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Code == codeUnsupported
}

// counter answers an offer that cannot be served with one that can
// (draft-ietf-wish-whep, section 4.3.2). refused is why, which the client is
// told when there is no counter-offer either.
func (s *Service) counter(ctx context.Context, c *fiber.Ctx, cl claims, base url.URL, refused error) error {
	wish, err := qualityOf(c)
	if err != nil {
		return err
	}
	answer, until, err := s.sfu.CounterOffer(ctx, cl.MediaSessionID, cl.StreamID, wish)
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) && f.Code == codeNoPublisher {
			return err
		}
		return refused
	}
	segment, err := s.admit(ctx, c, cl, answer)
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "counter-offer made", slog.String("media_session", cl.MediaSessionID),
		slog.String("stream", cl.StreamID), slog.Any("because", refused))
	c.Set(fiber.HeaderLocation, location(base, cl, segment))
	c.Set("Accept-Patch", typeSDP+", "+acceptPatch(subscribe))
	addLinks(c, s.ice.ICEServers(base.Hostname(), cl.guest()))
	addExtensions(c, location(base, cl, segment))
	c.Set(fiber.HeaderContentType, typeSDP+`; valid-until="`+until.UTC().Format(http.TimeFormat)+`"`)
	return c.Status(fiber.StatusNotAcceptable).Send(answer.SDP)
}

// accept takes the answer to a counter-offer.
func (s *Service) accept(c *fiber.Ctx, h handle) error {
	answer, err := body(c, typeSDP, errNotSDP)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), requestTimeout)
	defer cancel()
	if err := s.sfu.Accept(ctx, h.SessionID, answer); err != nil {
		return err
	}
	c.Status(fiber.StatusNoContent)
	return nil
}
