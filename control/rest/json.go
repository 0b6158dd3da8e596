package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

var (
	errNUL  = errors.New("strings must not contain U+0000")
	errUTF8 = errors.New("JSON is UTF-8")
)

// unmarshal is json.Unmarshal for what clients send. PostgreSQL can store
// neither U+0000 nor what is no UTF-8, so no string of a body may have them.
func unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) { // RFC 8259, section 8.1
		return errUTF8
	}
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
