package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/objects"
)

// takeBody reads the body of a request, at most bodyLimit bytes. The server
// hands bodies out as they come, because uploads are larger than memory; with
// that, its own limit holds for nobody. An upload is left to its route.
func takeBody(c *fiber.Ctx) error {
	stream := c.Request().BodyStream()
	if stream == nil || objects.IsUpload(c) {
		return c.Next()
	}
	if c.Request().Header.ContentLength() > bodyLimit {
		return tooLarge(c)
	}
	body, err := io.ReadAll(io.LimitReader(stream, bodyLimit+1))
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		c.Context().SetConnectionClose()
		return fiber.ErrRequestTimeout
	case err != nil:
		c.Context().SetConnectionClose()
		return fmt.Errorf("%w: %w", fiber.ErrBadRequest, err)
	case len(body) > bodyLimit:
		return tooLarge(c)
	}
	// A stream again: huma takes what the server is set to give.
	c.Request().SetBodyStream(bytes.NewReader(body), len(body))
	return c.Next()
}

// tooLarge answers while the client still sends, and hears it out.
func tooLarge(c *fiber.Ctx) error {
	c.Context().SetConnectionClose()
	if conn, ok := c.Context().Conn().(interface{ HearOut() }); ok {
		conn.HearOut()
	}
	return fiber.ErrRequestEntityTooLarge
}
