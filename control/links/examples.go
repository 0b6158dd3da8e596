package links

// What the API's description shows.
const (
	exampleCreate = `{"cameraDeviceId": "01a21fe0-eb58-7010-8336-ee6ac9c06665",
	"clientDeviceId": "01a21fe0-eb5a-73d2-8151-6121bb1effb2"}`
	exampleLink = `{"id":"01a21fe1-0c11-7a4e-9b5d-3f4c2f5b8f10","cameraDeviceId":"01a21fe0-eb58-7010-8336-ee6ac9c06665",
	"clientDeviceId":"01a21fe0-eb5a-73d2-8151-6121bb1effb2","status":"active","createdAt":"2026-11-28T01:59:23.737Z"}`
)
