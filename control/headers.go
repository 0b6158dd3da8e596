package control

import (
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
)

// headers are the security headers of every answer. There is no
// Cross-Origin-Embedder-Policy: it would keep recordings on another origin
// from playing.
type headers struct {
	csp string
}

func newHeaders(objectOrigin string) (*headers, error) {
	objects := ""
	if objectOrigin != "" {
		origin, err := auth.ParseOrigin(objectOrigin)
		if err != nil {
			return nil, fmt.Errorf("control: object origin %q: %w", objectOrigin, err)
		}
		objects = " " + origin
	}
	return &headers{csp: strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"font-src 'self'",
		"img-src 'self' data: blob:" + objects,
		"media-src 'self' blob:" + objects,
		"connect-src 'self' ws: wss:" + objects,
		"worker-src 'self'",
		"manifest-src 'self'",
		"form-action 'self'",
		"base-uri 'none'",
		"frame-ancestors 'none'",
	}, "; ")}, nil
}

func (h *headers) handle(c *fiber.Ctx) error {
	h.set(c)
	return c.Next()
}

func (h *headers) set(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentSecurityPolicy, h.csp)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	// Not no-referrer: it makes browsers send "Origin: null" with forms.
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set(fiber.HeaderPermissionsPolicy,
		"camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), autoplay=(self), "+
			"picture-in-picture=(self), screen-wake-lock=(self), geolocation=(), payment=(), usb=(), serial=()")
	if !isOpen(c) {
		c.Set("Cross-Origin-Resource-Policy", "same-origin")
	}
}

// isOpen says whether pages of any origin may use the address: its credential
// is a token or a signature, never the user's cookie.
func isOpen(c *fiber.Ctx) bool {
	return isMedia(c) || strings.HasPrefix(c.Path(), "/objects/")
}

// isMedia says whether the address is one of WHIP or WHEP.
func isMedia(c *fiber.Ctx) bool {
	return strings.HasPrefix(c.Path(), "/whip/") || strings.HasPrefix(c.Path(), "/whep/")
}
