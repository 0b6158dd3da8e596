package socketio

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func raw(texts ...string) (list []json.RawMessage) {
	for _, s := range texts {
		list = append(list, json.RawMessage(s))
	}
	return list
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		frame string
		want  Packet
		err   error
	}{
		{"3", Packet{Type: Pong}, nil},
		{"1", Packet{Type: Close}, nil},
		{"6", Packet{Type: Noop}, nil},
		{"40", Packet{Type: Connect, Namespace: "/"}, nil},
		{`40{"token":"t"}`, Packet{Type: Connect, Namespace: "/", Data: raw(`{"token":"t"}`)}, nil},
		{`40/admin,{"a":1}`, Packet{Type: Connect, Namespace: "/admin", Data: raw(`{"a":1}`)}, nil},
		{"40/admin", Packet{Type: Connect, Namespace: "/admin"}, nil},
		{"41", Packet{Type: Disconnect, Namespace: "/"}, nil},
		{`42["a"]`, Packet{Type: Event, Namespace: "/", Name: "a"}, nil},
		{`42["a",{"b":1},2]`, Packet{Type: Event, Namespace: "/", Name: "a", Data: raw(`{"b":1}`, "2")}, nil},
		{`4217["a",null]`, Packet{Type: Event, Namespace: "/", ID: "17", Name: "a", Data: raw("null")}, nil},
		{`42/x,0["a"]`, Packet{Type: Event, Namespace: "/x", ID: "0", Name: "a"}, nil},
		{`437["ok"]`, Packet{Type: Ack, Namespace: "/", ID: "7"}, nil},
		{`451-["a",{"_placeholder":true,"num":0}]`, Packet{}, ErrBinary},
		{`461-3[]`, Packet{}, ErrBinary},
	}
	for _, frame := range []string{
		"", "0", "2", "2probe", "5", "7", "11", "60", "4", "47", "42", "42[]", "42[1]", "42{}", "42null", `42["a"`,
		`42["a"]x`, "40[]", "40null", "40{", `401{"a":1}`, "411", `41{}`, "43[]", `42["a",1,2,3,4,5,6,7,8,9]`,
		`4212345678901["a"]`, "40/" + strings.Repeat("n", 200), "\x00", "42[null]",
	} {
		tests = append(tests, struct {
			frame string
			want  Packet
			err   error
		}{frame, Packet{}, ErrSyntax})
	}
	for _, test := range tests {
		got, err := Parse([]byte(test.frame))
		if !errors.Is(err, test.err) || err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("Parse(%.40q) = %+v, %v; want %+v, %v", test.frame, got, err, test.want, test.err)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	for want, got := range map[string][]byte{
		`0{"sid":"s","upgrades":[],"pingInterval":20000,"pingTimeout":40000,"maxPayload":65536}`: Open("s", 20*time.Second,
			40*time.Second, 65536),
		`40{"sid":"s"}`:                          Connected("s"),
		`44{"message":"no","data":{"code":"c"}}`: Refused("/", "no", json.RawMessage(`{"code":"c"}`)),
		`44/x,{"message":"no"}`:                  Refused("/x", "no", nil),
		`42["a",{"b":1}]`:                        Emit("a", json.RawMessage(`{"b":1}`)),
		`42["a"]`:                                Emit("a"),
		`4317[{}]`:                               Acknowledge("17", json.RawMessage(`{}`)),
		`430[]`:                                  Acknowledge("0"),
	} {
		if string(got) != want {
			t.Errorf("wrote %s, want %s", got, want)
		}
	}
}

// FuzzParse holds that whatever is taken for a packet is one: within the
// limits, and the same again when it is written out.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"3", "1", "40", `40{"token":"t"}`, `40/admin,{}`, "41", `42["a",{"b":1}]`, `4217["a",[]]`, `437["ok"]`,
		`451-["a",{"_placeholder":true,"num":0}]`, `42/x,9["é",null]`, `42["a\u0000"]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, err := Parse(frame)
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrBinary) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if p.Type < Pong || p.Type > Ack || len(p.ID) > maxIDDigits || len(p.Namespace) > maxNamespace || len(p.Data) > maxArguments {
			t.Fatalf("out of bounds: %+v", p)
		}
		for _, d := range p.Data {
			if !json.Valid(d) {
				t.Fatalf("argument %q is not JSON", d)
			}
		}
		if p.Type != Event || p.Namespace != "/" {
			return
		}
		again, err := Parse(append([]byte("42"+p.ID), Emit(p.Name, p.Data...)[2:]...))
		if err != nil || again.Name != p.Name || again.ID != p.ID || len(again.Data) != len(p.Data) {
			t.Fatalf("%q became %+v (%v), want %+v", frame, again, err, p)
		}
	})
}
