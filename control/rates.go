package control

import (
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/limit"
	"github.com/securecam/securecam/control/rest"
)

// rateGroup is a part of the API with a limit of its own, beside the one on
// everything.
type rateGroup struct {
	name     string
	prefixes []string
	reads    bool // GET counts as well
}

const globalRate = "global"

// rateGroups are asked in this order; a request belongs to one at most.
func rateGroups() []rateGroup {
	return []rateGroup{
		{name: "auth", prefixes: []string{"/api/auth/"}},
		{name: "devices", prefixes: []string{"/devices", "/device-links"}},
		{name: "commands", prefixes: []string{"/commands"}},
		{name: "streams", prefixes: []string{"/streams", "/media-sessions"}},
		{name: "events", prefixes: []string{"/events"}},
		{name: "notifications", prefixes: []string{"/notifications", "/push-notifications"}},
		{name: "webhooks", prefixes: []string{"/webhooks"}}, // a ping or a replay is a request to somebody else
		{name: "uploads", prefixes: []string{"/videos", "/recordings"}},
		{name: "media", prefixes: []string{"/whip/", "/whep/"}},
		{name: "admin", prefixes: []string{"/admin"}, reads: true},
	}
}

// DefaultRates returns how many requests an address may make in a minute, by
// group. They are meant to be met by nobody who means well.
func DefaultRates() map[string]int {
	return map[string]int{
		globalRate: 6000, "auth": 120, "devices": 1200, "commands": 1200, "streams": 1200, "events": 1200,
		"notifications": 1200, "webhooks": 300, "uploads": 600, "media": 1200, "admin": 600,
	}
}

// rates limits requests by the address that they come from.
type rates struct {
	limiter *limit.Limiter
	limits  map[string]int // by group; a group without one is not limited
	groups  []rateGroup
}

func newRates(limiter *limit.Limiter, limits map[string]int) *rates {
	return &rates{limiter: limiter, limits: limits, groups: rateGroups()}
}

// handle refuses a request that is one too many, before its body is read. What
// it answers tells about the group's limit if there is one, else about the one
// on everything.
func (r *rates) handle(c *fiber.Ctx) error {
	if strings.HasPrefix(c.Path(), "/ops/") { // whoever watches the server must see it under an attack
		return c.Next()
	}
	address := rest.RequestOf(c.UserContext()).Network()
	for _, group := range []string{globalRate, r.groupOf(c)} {
		allowed := r.limits[group]
		if allowed <= 0 {
			continue
		}
		result := r.limiter.Take(c.UserContext(), group, address, allowed)
		policy, state := result.Headers(group, r.limiter.Window())
		c.Set("RateLimit-Policy", policy)
		c.Set("RateLimit", state)
		if !result.Allowed {
			return limit.ErrTooMany.After(result.Reset)
		}
	}
	return c.Next()
}

// groupOf returns the group of a request, "" if it has none.
func (r *rates) groupOf(c *fiber.Ctx) string {
	read := c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead || c.Method() == fiber.MethodOptions
	for _, g := range r.groups {
		if read && !g.reads {
			continue
		}
		for _, prefix := range g.prefixes {
			if strings.HasPrefix(c.Path(), prefix) {
				return g.name
			}
		}
	}
	return ""
}
