package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// openAPI is what the tests read of the API's description.
type openAPI struct {
	OpenAPI    string
	Paths      map[string]map[string]operationJSON
	Components struct {
		SecuritySchemes map[string]json.RawMessage
		Schemas         map[string]json.RawMessage
		Responses       map[string]responseJSON
	}
	Tags []struct{ Name string }
}

type operationJSON struct {
	OperationID string
	Summary     string
	Tags        []string
	Security    []map[string][]string
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   json.RawMessage
	}
	RequestBody *struct{ Content map[string]contentJSON }
	Responses   map[string]responseJSON
}

type responseJSON struct {
	Ref         string `json:"$ref"`
	Description string
	Content     map[string]contentJSON
}

type contentJSON struct {
	Schema   json.RawMessage
	Example  json.RawMessage
	Examples map[string]*struct{ Value json.RawMessage }
}

func readOpenAPI(t *testing.T, base string) (doc openAPI, raw string) {
	t.Helper()
	status, body := newBrowser(t, base).raw(http.MethodGet, "/openapi.json", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	decode(t, body, &doc)
	return doc, string(body)
}

// page says whether a route is one for people's browsers and not the API's.
func isPage(path string) bool {
	for _, prefix := range []string{"/sim", "/docs", "/admin/page/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"", "/", "/admin", "/openapi.json"}, path)
}

var pathParameter = regexp.MustCompile(`\{[^}]*\}`)

// shape is a path without the names of what varies.
func shape(path string) string {
	return strings.TrimRight(pathParameter.ReplaceAllString(path, "{}"), "/")
}

// TestOpenAPIDescribesEveryRoute compares the router with the document, both
// ways, and looks at what each operation says of itself.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	t.Parallel()
	app := startApp(t, adminSettings()...)
	doc, raw := readOpenAPI(t, app.url)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("the document is OpenAPI %s", doc.OpenAPI)
	}
	described := map[string]bool{}
	ids := map[string]string{}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			route := strings.ToUpper(method) + " " + path
			described[strings.ToUpper(method)+" "+shape(path)] = true
			if op.Summary == "" || len(op.Tags) == 0 || len(op.Responses) == 0 {
				t.Errorf("%s has no summary, tag or responses", route)
			}
			if other, taken := ids[op.OperationID]; taken || op.OperationID == "" {
				t.Errorf("%s has the id %q of %s", route, op.OperationID, other)
			}
			ids[op.OperationID] = route
			checkOperation(t, doc, route, op)
		}
	}
	answered := map[string]bool{}
	for _, r := range app.routes {
		key := r.Method + " " + shape(r.Path)
		answered[key] = true
		if isPage(r.Path) || slices.Contains([]string{"HEAD", "OPTIONS", "CONNECT", "TRACE"}, r.Method) {
			continue
		}
		// WHIP and WHEP answer every method, most of them by 405.
		media := strings.HasPrefix(r.Path, "/whip/") || strings.HasPrefix(r.Path, "/whep/")
		if media && slices.ContainsFunc([]string{"GET", "POST", "PATCH", "DELETE"}, func(method string) bool {
			return described[method+" "+shape(r.Path)]
		}) {
			continue
		}
		if !described[key] {
			t.Errorf("%s %s is not in the document", r.Method, r.Path)
		}
	}
	for key := range described {
		if !answered[key] {
			t.Errorf("%s is in the document, but nothing answers it", key)
		}
	}
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(raw, -1) {
		if doc.Components.Schemas[ref[1]] == nil {
			t.Errorf("schema %s is referred to and is missing", ref[1])
		}
	}
}

// checkOperation looks at one operation's parameters, security and bodies.
func checkOperation(t *testing.T, doc openAPI, route string, op operationJSON) {
	t.Helper()
	for _, requirement := range op.Security {
		for scheme := range requirement {
			if doc.Components.SecuritySchemes[scheme] == nil {
				t.Errorf("%s needs %s, which is no scheme of the document", route, scheme)
			}
		}
	}
	for _, name := range pathParameter.FindAllString(route, -1) {
		if !slices.ContainsFunc(op.Parameters, func(p struct {
			Name, In string
			Required bool
			Schema   json.RawMessage
		},
		) bool {
			return p.In == "path" && p.Required && "{"+p.Name+"}" == name
		}) {
			t.Errorf("%s does not describe %s", route, name)
		}
	}
	for _, p := range op.Parameters {
		if len(p.Schema) == 0 {
			t.Errorf("%s: parameter %s has no type", route, p.Name)
		}
	}
	if op.RequestBody != nil && len(op.RequestBody.Content) == 0 {
		t.Errorf("%s takes a body of no type", route)
	}
	failure := false
	for status, r := range op.Responses {
		if name, shared := strings.CutPrefix(r.Ref, "#/components/responses/"); shared {
			r = doc.Components.Responses[name]
		}
		if status == "default" || strings.HasPrefix(status, "4") {
			failure = true
		}
		if r.Description == "" {
			t.Errorf("%s: response %s has no description", route, status)
		}
	}
	if !failure {
		t.Errorf("%s does not describe its errors", route)
	}
}

// TestEveryChangeHasARateGroup asks for every operation that changes something:
// a limit of its own must stand beside the one on everything.
func TestEveryChangeHasARateGroup(t *testing.T) {
	t.Parallel()
	app := startApp(t, adminSettings()...)
	doc, _ := readOpenAPI(t, app.url)
	browser := newBrowser(t, app.url)
	for path, operations := range doc.Paths {
		for method := range operations {
			// Signed URLs are counted where they are made; polling is not spoken.
			if method == "get" || strings.HasPrefix(path, "/objects/") || path == "/socket.io/" {
				continue
			}
			target := app.url + pathParameter.ReplaceAllString(path, "x")
			request, err := http.NewRequestWithContext(t.Context(), strings.ToUpper(method), target, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := browser.http.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if policy := response.Header.Get("RateLimit-Policy"); policy == "" || strings.HasPrefix(policy, `"global"`) {
				t.Errorf("%s %s: policy %q", method, path, policy)
			}
		}
	}
}
