package control

import (
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"

	"github.com/securecam/securecam/control/auth"
)

const (
	preflightAge = 7200 // seconds, what Chromium allows at most

	// What a WHIP or WHEP client reads: RFC 9725, section 4.
	exposed = "Location, Link, ETag, Retry-After, Accept-Patch, WWW-Authenticate, Content-Range, X-Request-Id"
)

// newCORS returns the handlers that let pages of other origins in: of any
// origin to the addresses whose credential is a token, of trusted origins, with
// the user's cookie, to the rest. Every OPTIONS of WHIP and WHEP, whose routes
// say more than a preflight asks, and elsewhere one that is no preflight,
// reaches the route.
func newCORS(trusted []string) ([]fiber.Handler, error) {
	handlers := []fiber.Handler{cors.New(cors.Config{
		Next:          func(c *fiber.Ctx) bool { return !isOpen(c) || isMedia(c) && c.Method() == fiber.MethodOptions },
		AllowOrigins:  "*",
		AllowMethods:  "GET,HEAD,POST,PATCH,DELETE,OPTIONS",
		AllowHeaders:  "Authorization,Content-Type,If-Match,If-None-Match,If-Range,Range",
		ExposeHeaders: exposed,
		MaxAge:        preflightAge,
	})}
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
		AllowMethods:     "GET,HEAD,POST,PATCH,DELETE",
		AllowHeaders:     "Authorization,Content-Type,X-Request-Id",
		ExposeHeaders:    "Retry-After, WWW-Authenticate, X-Request-Id",
		AllowCredentials: true,
		MaxAge:           preflightAge,
	})), nil
}
