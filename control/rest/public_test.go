package rest_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/rest"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	fixed := rest.Public{URL: "https://cam.example.org/securecam/", Local: "http://localhost:8080"}
	open := rest.Public{Local: "http://localhost:8080/"}
	if got := fixed.Absolute(t.Context(), "/x"); got != "https://cam.example.org/securecam/x" {
		t.Errorf("a fixed address: %s", got)
	}
	if got := open.Absolute(t.Context(), "/x"); got != "http://localhost:8080/x" {
		t.Errorf("without a request: %s", got)
	}
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler})
	app.Use(rest.Record(rest.RecordConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")}}))
	app.Get("/", func(c *fiber.Ctx) error {
		ctx := c.UserContext()
		return c.SendString(open.Absolute(ctx, "/x") + " " + fixed.Absolute(ctx, "/x") + " " + open.Absolute(ctx, "https://minio/x"))
	})
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header.Set("X-Forwarded-Host", "home.example")
	req.Header.Set("X-Forwarded-Prefix", "/cam")
	const want = "https://home.example/cam/x https://cam.example.org/securecam/x https://minio/x"
	if got := do(t, app, req).body; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
