package webhooks

// What the API's description shows.
const (
	exampleCreate  = `{"name": "Home automation", "url": "https://hooks.example.org/securecam", "eventTypes": ["motion:started"]}`
	exampleCreated = `{
	"id": "01a21fe1-0c11-7a4e-9b5d-3f4c2f5b8f10", "name": "Home automation", "kind": "webhook",
	"url": "https://hooks.example.org/securecam", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	"eventTypes": ["motion:started"], "enabled": true, "createdAt": "2026-11-28T01:59:23.737Z", "updatedAt": "2026-11-28T01:59:23.737Z"
}`
)
