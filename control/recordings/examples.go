package recordings

// What the API's description shows.
const exampleUpload = `{"contentType": "video/webm", "size": 1048576}`
