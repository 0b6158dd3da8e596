package rest

import (
	"bytes"
	"encoding/json"
	"errors"
)

var errNUL = errors.New("strings must not contain U+0000")

// unmarshal is json.Unmarshal for what clients send. PostgreSQL cannot store
// U+0000, so no string of a body may have it.
func unmarshal(data []byte, v any) error {
	if HasNUL(data) {
		return errNUL
	}
	return json.Unmarshal(data, v)
}

// HasNUL finds the escape of U+0000, which PostgreSQL cannot store. (The bare
// byte is not JSON.)
func HasNUL(data []byte) bool {
	const escaped = `\u0000`
	for from := 0; ; {
		i := bytes.Index(data[from:], []byte(escaped))
		if i < 0 {
			return false
		}
		i += from
		backslashes := 0
		for j := i - 1; j >= 0 && data[j] == '\\'; j-- {
			backslashes++
		}
		if backslashes%2 == 0 {
			return true
		}
		from = i + 1
	}
}
