package videos

// What the API's description shows.
const exampleCreate = `{"name": "doorbell.webm", "contentType": "video/webm", "size": 1048576,
	"deviceId": "01a21fe0-eb58-7010-8336-ee6ac9c06665"}`
