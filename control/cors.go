package control

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"

	"github.com/securecam/securecam/control/auth"
)

const (
	preflightAge = 7200 // seconds, what Chromium allows at most

	openMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	openHeaders = "Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range"
	// What a WHIP or WHEP client reads: RFC 9725, section 4.
	openExposed = "Location, Link, ETag, Retry-After, Accept-Patch, Accept-Post, WWW-Authenticate, Content-Range, X-Request-Id"
)

// newCORS returns the handlers that let pages of other origins in: of any
// origin to the addresses whose credential is a token, of trusted origins, with
// the user's cookie, to the rest. An OPTIONS of WHIP and WHEP, whose routes say
// more than a preflight asks, and elsewhere one that is no preflight, reaches
// the route.
func newCORS(trusted []string) ([]fiber.Handler, error) {
	handlers := []fiber.Handler{func(c *fiber.Ctx) error {
		if isOpen(c) {
			openToAll(c)
			if isPreflight(c) && !isMedia(c) {
				return c.SendStatus(fiber.StatusNoContent)
			}
		}
		return c.Next()
	}}
	if len(trusted) == 0 {
		return handlers, nil
	}
	origins := make([]string, len(trusted))
	for i, origin := range trusted {
		parsed, err := auth.ParseOrigin(origin)
		if err != nil {
			return nil, fmt.Errorf("control: trusted origin %q: %w", origin, err)
		}
		origins[i] = parsed
	}
	return append(handlers, cors.New(cors.Config{
		Next:             isOpen,
		AllowOrigins:     strings.Join(origins, ","),
		AllowMethods:     "GET,HEAD,POST,PUT,PATCH,DELETE",
		AllowHeaders:     "Authorization,Content-Type,X-Request-Id",
		ExposeHeaders:    "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id",
		AllowCredentials: true,
		MaxAge:           preflightAge,
	})), nil
}

// openToAll says to a browser that pages of any origin may use the address.
// Every answer says so, errors too: a page could not tell them from an outage.
func openToAll(c *fiber.Ctx) {
	c.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	c.Set(fiber.HeaderAccessControlExposeHeaders, openExposed)
	if c.Method() == fiber.MethodOptions {
		c.Set(fiber.HeaderAccessControlAllowMethods, openMethods)
		c.Set(fiber.HeaderAccessControlAllowHeaders, openHeaders)
		c.Set(fiber.HeaderAccessControlMaxAge, strconv.Itoa(preflightAge))
	}
}

func isPreflight(c *fiber.Ctx) bool {
	return c.Method() == fiber.MethodOptions && c.Get(fiber.HeaderAccessControlRequestMethod) != ""
}
