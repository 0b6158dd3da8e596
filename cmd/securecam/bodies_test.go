package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// schemaJSON is what the walks read of a request's schema.
type schemaJSON struct {
	Ref                  string `json:"$ref"`
	Type                 any    // a name, or several
	Format               string
	ContentEncoding      string
	Enum                 []any
	Properties           map[string]*schemaJSON
	Required             []string
	AdditionalProperties any
	Items                *schemaJSON
	MaxLength, MaxItems  *int
	MinLength            *int
	Pattern              string
	Minimum, Maximum     *float64
}

// requestSchema is the schema of the JSON that an operation takes, if it takes
// an object.
func (w walk) requestSchema(t *testing.T, op operationJSON) *schemaJSON {
	t.Helper()
	if op.RequestBody == nil {
		return nil
	}
	raw := op.RequestBody.Content["application/json"].Schema
	if raw == nil {
		return nil
	}
	var s schemaJSON
	decode(t, raw, &s)
	return w.resolve(t, &s)
}

func (w walk) resolve(t *testing.T, s *schemaJSON) *schemaJSON {
	t.Helper()
	name, refers := strings.CutPrefix(s.Ref, "#/components/schemas/")
	if !refers {
		return s
	}
	var named schemaJSON
	decode(t, w.doc.Components.Schemas[name], &named)
	return &named
}

func (s *schemaJSON) types() (list []string) {
	switch v := s.Type.(type) {
	case string:
		list = append(list, v)
	case []any:
		for _, name := range v {
			list = append(list, fmt.Sprint(name))
		}
	}
	return list
}

// wrong returns values that the schema refuses, by what is wrong with them.
func (s *schemaJSON) wrong() map[string]any {
	values := map[string]any{}
	types := s.types()
	if len(types) == 0 {
		return values // any JSON; how much of it is a rule of its own
	}
	for name, v := range map[string]any{
		"string": "x", "number": 1.5, "boolean": true, "array": []any{}, "object": map[string]any{}, "null": nil,
	} {
		fits := slices.Contains(types, name)
		// An optional field may be null, as if it were left out.
		if !fits && name != "null" {
			values["a "+name] = v
		}
	}
	if len(s.Enum) > 0 {
		values["none of the words"] = "nonsense"
	}
	if s.MaxLength != nil {
		values["too long"] = strings.Repeat("x", *s.MaxLength+1)
	}
	if s.MinLength != nil && *s.MinLength > 0 {
		values["too short"] = strings.Repeat("x", *s.MinLength-1)
	}
	if s.MaxItems != nil {
		values["too many"] = make([]any, *s.MaxItems+1)
	}
	if s.Minimum != nil {
		values["too little"] = *s.Minimum - 1
	}
	if s.Maximum != nil {
		values["too large"] = *s.Maximum * 2
	}
	return values
}

// badBody is a body that an operation must refuse for what is at a place of it.
type badBody struct{ what, body, at string }

// faultsOf are the ways in which a body may fail its schema.
func (w walk) faultsOf(t *testing.T, s *schemaJSON, valid map[string]any) (list []badBody) {
	t.Helper()
	add := func(what, at string, change func(map[string]any)) {
		body := maps.Clone(valid)
		change(body)
		list = append(list, badBody{what, encode(t, body), at})
	}
	add("an unknown field", "body.nonsense", func(b map[string]any) { b["nonsense"] = 1 })
	for _, name := range s.Required {
		add("no "+name, "body", func(b map[string]any) { delete(b, name) })
	}
	for name, property := range s.Properties {
		property = w.resolve(t, property)
		for what, value := range property.wrong() {
			add(name+" that is "+what, "body."+name, func(b map[string]any) { b[name] = value })
		}
		for inner := range property.Properties {
			for what, value := range w.resolve(t, property.Properties[inner]).wrong() {
				add(name+"."+inner+" that is "+what, "body."+name, func(b map[string]any) { b[name] = map[string]any{inner: value} })
			}
		}
	}
	return list
}

// nonBodies are no objects at all, or none that a parser should see the end of.
func nonBodies() map[string]string {
	return map[string]string{
		"another type": `[1]`, "no JSON": `{`, "a number": `7`, "null": `null`, "nothing": ``,
		"U+0000":      `{"name":"\u0000"}`,
		"too much":    `{"name":"` + strings.Repeat("x", 70<<10) + `"}`,
		"null bytes":  "\x00\x00",
		"no UTF-8":    "{\"name\":\"\xff\xfe\"}",
		"deep":        strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000),
		"two objects": `{}{}`,
	}
}

// TestBadBodies sends every operation that takes JSON what it does not take:
// each is told where the fault is, and nothing changes.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w walk) {
		r := settle(t, w.app, w.db)
		before := r.deeds(t)
		taken := 0
		w.operations(func(_, method, path string, op operationJSON) {
			schema := w.requestSchema(t, op)
			if schema == nil || takes(op, "media") { // see control/media
				return
			}
			taken++
			route := method + " " + shape(path)
			who := r.user
			if !takes(op, "session") && takes(op, "device") {
				who = r.client
				if slices.Contains(camerasOnly, route) {
					who = r.camera
				}
			}
			w.spoil(t, r, who, route, op, schema)
		})
		if taken < 40 {
			t.Errorf("only %d operations take JSON", taken)
		}
		if after := r.deeds(t); after != before {
			t.Errorf("after bad bodies, the log says\n%s\ninstead of\n%s", after, before)
		}
	})
}

// spoil sends one operation all that it does not take.
func (w walk) spoil(t *testing.T, r resident, who *apiClient, route string, op operationJSON, schema *schemaJSON) {
	t.Helper()
	method, target := strings.Fields(route)[0], r.own(route)
	for what, body := range nonBodies() {
		if body == "" && len(schema.Required) == 0 {
			continue // as good as {}
		}
		status, answer := who.send(method, target, "application/json", body)
		if status < 400 || status >= 500 || codeOf(answer) == "" {
			t.Errorf("%s with %s: %d %s", route, what, status, answer)
		}
	}
	if status, answer := who.send(method, target, "text/plain", "{}"); status != http.StatusUnsupportedMediaType || codeOf(answer) == "" {
		t.Errorf("%s as text: %d %s", route, status, answer)
	}
	valid := map[string]any{}
	for _, body := range []string{validBodies[route], string(op.RequestBody.Content["application/json"].Example)} {
		if body != "" {
			decode(t, []byte(body), &valid)
			break
		}
	}
	for what, value := range map[string]string{
		"no UTF-8": "{\"a\":\"\xff\"}", "too much": `{"a":"` + strings.Repeat("x", 40<<10) + `"}`, "U+0000": `{"a":["\u0000"]}`,
	} {
		for name, property := range schema.Properties {
			if property.Ref != "" || len(property.types()) > 0 {
				continue
			}
			body := maps.Clone(valid)
			body[name] = json.RawMessage(value)
			status, answer := who.send(method, target, "application/json", encode(t, body))
			if status < 400 || status >= 500 || codeOf(answer) == "" {
				t.Errorf("%s with %s that is %s: %d %s", route, name, what, status, answer)
			}
		}
	}
	for _, f := range w.faultsOf(t, schema, valid) {
		status, answer := who.send(method, target, "application/json", f.body)
		var problem struct {
			Code   string
			Errors []struct{ Location string }
		}
		decode(t, answer, &problem)
		named := slices.ContainsFunc(problem.Errors, func(e struct{ Location string }) bool {
			return e.Location == f.at || strings.HasPrefix(e.Location, f.at+".") || strings.HasPrefix(e.Location, f.at+"[")
		})
		if status != http.StatusUnprocessableEntity || problem.Code != "validation_failed" || !named {
			t.Errorf("%s with %s: %d %s, want %s named", route, f.what, status, answer, f.at)
		}
	}
}

// deeds are what the resident's browser and devices have done: each change is
// audited in its transaction. What the server does by itself in time is not
// among them.
func (r resident) deeds(t *testing.T) string {
	t.Helper()
	var log struct {
		Items []struct{ Action, TargetID, ActorUserID, ActorDeviceID string }
		Next  string `json:"nextCursor"`
	}
	r.user.must(http.StatusOK, "GET", "/audit?limit=200", nil, &log)
	var all []string
	for _, row := range log.Items {
		if row.ActorUserID != "" || row.ActorDeviceID != "" {
			all = append(all, row.Action+" "+row.TargetID)
		}
	}
	if len(all) == 0 || log.Next != "" {
		t.Fatalf("the audit log has %d deeds and goes on at %q", len(all), log.Next)
	}
	return strings.Join(all, "\n")
}

// TestBadParameters sends every operation paths and queries that are none.
func TestBadParameters(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w walk) {
		r := settle(t, w.app, w.db)
		before := r.deeds(t)
		w.operations(func(_, method, path string, op operationJSON) {
			if takesOnly(op, "admin") || method+" "+path == "GET /realtime" {
				return // see TestAdminRoutes, and the gateway
			}
			who := r.user
			if !takes(op, "session") && takes(op, "device") {
				who = r.client
			}
			ask := func(target string) (status int) {
				status, answer := who.send(method, target, bodyType(op), "")
				spoken := strings.HasPrefix(path, "/socket.io/") || codeOf(answer) != ""
				if status >= 500 || status >= 400 && !spoken {
					t.Errorf("%s as %s: %d %s", method+" "+path, target, status, answer)
				}
				return status
			}
			if strings.Contains(path, "{") {
				for _, id := range []string{
					"x", "%2e%2e%2fsecrets.env", "%00", "%ff", "'%20OR%201=1", strings.Repeat("x", 600), "%F0%9F%93%B7", "-1",
				} {
					if status := ask(pathParameter.ReplaceAllString(path, id)); status < 400 && !strings.HasPrefix(path, "/api/auth/") {
						t.Errorf("%s %s with %q: %d", method, path, id, status)
					}
				}
			}
			for _, p := range op.Parameters {
				if p.In != "query" {
					continue
				}
				for _, value := range []string{"", "nonsense", "-1", "1e99", "%00", "%ff", "'", strings.Repeat("x", 3000), "%F0%9F%93%B7"} {
					ask(pathParameter.ReplaceAllString(path, uuid.NewString()) + "?" + p.Name + "=" + value)
				}
			}
		})
		if after := r.deeds(t); after != before {
			t.Errorf("after bad parameters, the log says\n%s\ninstead of\n%s", after, before)
		}
	})
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
