package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseEnvelope(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65)
	tests := []struct {
		name, frame string
		want        envelope
		ok          bool
	}{
		{"whole", `{"event":"a:b","id":"1","data":{"x":[1]}}`, envelope{"a:b", "1", json.RawMessage(`{"x":[1]}`)}, true},
		{"least", ` { "event" : "ping" } `, envelope{event: "ping"}, true},
		{"any order", `{"data":{},"id":"é","event":"a-b_c9"}`, envelope{"a-b_c9", "é", json.RawMessage(`{}`)}, true},
		{"escaped name", `{"\u0065vent":"ping"}`, envelope{event: "ping"}, true},
		{"empty", ``, envelope{}, false},
		{"no object", `"ping"`, envelope{}, false},
		{"no event", `{"id":"1"}`, envelope{id: "1"}, false},
		{"event twice", `{"id":"1","event":"a","event":"b"}`, envelope{id: "1"}, false},
		{"other case", `{"Event":"a"}`, envelope{}, false},
		{"unknown member", `{"id":"1","event":"a","x":0}`, envelope{id: "1"}, false},
		{"two values", `{"event":"a"} {}`, envelope{}, false},
		{"cut off", `{"event":"a"`, envelope{}, false},
		{"trailing comma", `{"event":"a",}`, envelope{}, false},
		{"null event", `{"event":null}`, envelope{}, false},
		{"null id", `{"event":"a","id":null}`, envelope{}, false},
		{"number id", `{"event":"a","id":1}`, envelope{}, false},
		{"long id", `{"event":"a","id":"` + long + `"}`, envelope{}, false},
		{"long event", `{"event":"` + long + `"}`, envelope{}, false},
		{"data is null", `{"id":"1","event":"a","data":null}`, envelope{id: "1"}, false},
		{"data is a string", `{"event":"a","data":"{}"}`, envelope{}, false},
		{"NUL in data", `{"event":"a","data":{"x":"\u0000"}}`, envelope{}, false},
		{"NUL after a backslash", `{"event":"a","data":{"x":"\\\u0000"}}`, envelope{}, false},
		{"backslash and u0000", `{"event":"a","data":{"x":"\\u0000"}}`, envelope{event: "a", data: json.RawMessage(`{"x":"\\u0000"}`)}, true},
		{"not UTF-8", "{\"event\":\"a\",\"id\":\"\xff\"}", envelope{}, false},
		{"deep", `{"event":"a","data":` + strings.Repeat(`{"a":`, 12000) + "1" + strings.Repeat("}", 12000) + "}", envelope{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseEnvelope([]byte(tt.frame))
			if (err == nil) != tt.ok {
				t.Fatalf("error %v, want ok %v", err, tt.ok)
			}
			if got.event != tt.want.event || got.id != tt.want.id || string(got.data) != string(tt.want.data) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"event":"authenticate","data":{"token":"x"}}`, `{"event":"command:ack","id":"1","data":{"commandId":"2"}}`,
		`{"event":"ping"}`, `{"id":null}`, `[`, `{"event":"a","data":{"a":{"b":[{}]}}}`, "\x00", `{"\u0065vent":"a"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		e, err := parseEnvelope(frame)
		if len(e.id) > maxIDLength || !utf8.ValidString(e.id) {
			t.Fatalf("id %q", e.id)
		}
		if err != nil {
			if e.event != "" || e.data != nil {
				t.Fatalf("%+v with error %v", e, err)
			}
			return
		}
		if !validEvent(e.event) {
			t.Fatalf("event %q", e.event)
		}
		// Whatever passes says the same to an ordinary JSON reader.
		var plain struct {
			Event string         `json:"event"`
			ID    string         `json:"id"`
			Data  map[string]any `json:"data"`
		}
		if err := json.Unmarshal(frame, &plain); err != nil {
			t.Fatalf("not JSON: %v", err)
		}
		if text := fmt.Sprint(plain); strings.ContainsRune(text, 0) {
			t.Fatalf("%q brings U+0000", frame)
		}
		if plain.Event != e.event || plain.ID != e.id || (plain.Data != nil) != (e.data != nil) {
			t.Fatalf("got %+v, encoding/json reads %+v", e, plain)
		}
	})
}

func BenchmarkParseEnvelope(b *testing.B) {
	frame := []byte(`{"event":"command:ack","id":"17","data":{"commandId":"0198c0de-0000-7000-8000-000000000000","status":"acknowledged"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if _, err := parseEnvelope(frame); err != nil {
			b.Fatal(err)
		}
	}
}
