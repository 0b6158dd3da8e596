package rest

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"a":"b"}`, `"\u0000"`, `"\\u0000"`, `"\\\u0000"`, `["\u0001"]`, `{`, "\x00", "\"\xff\"", "\"\xed\xa0\x80\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours, plain any
		err := unmarshal(data, &ours)
		if json.Unmarshal(data, &plain) != nil {
			if err == nil {
				t.Fatalf("%q is not JSON", data)
			}
			return
		}
		if got, want := err != nil, holdsNUL(plain) || !utf8.Valid(data); got != want {
			t.Fatalf("%q: refused %v, holds what no database takes %v", data, got, want)
		}
	})
}

func holdsNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.ContainsRune(v, 0)
	case []any:
		for _, e := range v {
			if holdsNUL(e) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			if holdsNUL(k) || holdsNUL(e) {
				return true
			}
		}
	}
	return false
}
