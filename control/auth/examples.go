package auth

// What the API's description shows.
const (
	exampleSignUp = `{"name": "Ada", "email": "ada@example.org", "password": "correct horse battery"}`
	exampleSignIn = `{"email": "ada@example.org", "password": "correct horse battery"}`
)
