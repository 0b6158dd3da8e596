package docs

import (
	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
)

// policy lets Swagger UI set styles and show its own pictures; scripts come
// from here alone.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Mount adds /docs. It is a page for people, no operation of the API.
func (s *Service) Mount(app fiber.Router, _ huma.API) {
	app.Get("/docs", func(c *fiber.Ctx) error { return send(c, s.page) })
	app.Get("/docs/:file", func(c *fiber.Ctx) error {
		a, ok := s.assets[c.Params("file")]
		if !ok {
			return fiber.ErrNotFound
		}
		return send(c, a)
	})
}

func send(c *fiber.Ctx, a asset) error {
	c.Set(fiber.HeaderContentSecurityPolicy, policy)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderETag, a.etag)
	c.Vary(fiber.HeaderAcceptEncoding)
	if c.Get(fiber.HeaderIfNoneMatch) == a.etag {
		return c.SendStatus(fiber.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, a.contentType)
	if a.zipped != nil && c.Get(fiber.HeaderAcceptEncoding) != "" && c.AcceptsEncodings("gzip") == "gzip" {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return c.Send(a.zipped)
	}
	body, err := a.unzipped()
	if err != nil {
		return err
	}
	return c.Send(body)
}
