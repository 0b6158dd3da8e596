package events

// What the API's description shows.
const (
	exampleStart   = `{"triggeredBy": "person"}`
	exampleStarted = `{
	"id": "01a21fe1-0c11-7a4e-9b5d-3f4c2f5b8f10", "cameraDeviceId": "01a21fe0-eb58-7010-8336-ee6ac9c06665", "status": "active",
	"triggeredBy": "person", "startedAt": "2026-11-28T01:59:23.737Z", "createdAt": "2026-11-28T01:59:23.737Z"
}`
)
