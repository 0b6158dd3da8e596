package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is what /openapi.json promises. Every answer that an apiClient or the
// administrator gets is held against it: its status must be one that the
// operation names, an
// error's code as well, and its body must be as the schema says.
type contract struct {
	doc      openAPI
	compiler *jsonschema.Compiler
	mu       sync.Mutex                    // guards schemas and the compiler
	schemas  map[string]*jsonschema.Schema // by pointer into the document
}

const contractURL = "http://contract.test/openapi.json"

// contracts are those of the servers of this process, by address.
var contracts sync.Map

func contractOf(t *testing.T, base string) *contract {
	t.Helper()
	if known, ok := contracts.Load(base); ok {
		return known.(*contract)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		return nil // the server is on its way out, which this test may be about
	}
	raw := readAll(t, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil
	}
	made := newContract(t, raw)
	contracts.Store(base, made)
	return made
}

func newContract(t *testing.T, raw []byte) *contract {
	t.Helper()
	c := &contract{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	decode(t, raw, &c.doc)
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(contractURL, resource); err != nil {
		t.Fatal(err)
	}
	return c
}

// operation returns the operation that answers a path, and its template: of two
// that fit, the one with fewer parameters.
func (c *contract) operation(method, path string) (template string, op operationJSON, ok bool) {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	best := len(parts) + 1
	for candidate, operations := range c.doc.Paths {
		found, has := operations[strings.ToLower(method)]
		if !has {
			continue
		}
		if n := parametersOf(strings.Split(candidate, "/"), parts); n >= 0 && n < best {
			best, template, op, ok = n, candidate, found, true
		}
	}
	return template, op, ok
}

// parametersOf counts the parameters of a template that fits, and returns -1
// for one that does not.
func parametersOf(template, parts []string) int {
	if len(template) != len(parts) {
		return -1
	}
	n := 0
	for i, part := range template {
		switch {
		case strings.HasPrefix(part, "{") && parts[i] != "":
			n++
		case part != parts[i]:
			return -1
		}
	}
	return n
}

// ofTheServer are what no operation names: the HTTP server says them of any
// request.
func ofTheServer(status int) bool {
	return slices.Contains([]int{
		http.StatusMethodNotAllowed, http.StatusRequestTimeout, http.StatusRequestHeaderFieldsTooLarge, http.StatusUpgradeRequired,
	}, status)
}

// check compares an answer with what the operation's description says of it.
func (c *contract) check(t *testing.T, method, path string, status int, mediaType string, body []byte) {
	t.Helper()
	template, op, ok := c.operation(method, path)
	if !ok || ofTheServer(status) {
		return
	}
	at := []string{"paths", template, strings.ToLower(method), "responses", strconv.Itoa(status)}
	response, named := op.Responses[at[4]]
	if !named {
		if _, plain := op.Responses["500"]; plain { // made by rest.Register
			t.Errorf("%s %s answers %d, which its description does not name: %s", method, template, status, body)
		}
		return
	}
	if name, shared := strings.CutPrefix(response.Ref, "#/components/responses/"); shared {
		at, response = []string{"components", "responses", name}, c.doc.Components.Responses[name]
	}
	mediaType, _, _ = strings.Cut(mediaType, ";")
	content, ok := response.Content[mediaType]
	switch {
	case len(response.Content) == 0 && len(body) == 0:
		return
	case !ok:
		t.Errorf("%s %s answers %d as %q, which its description does not name: %s", method, template, status, mediaType, body)
		return
	case !strings.HasSuffix(mediaType, "json"):
		return
	}
	if code := codeOf(body); status >= http.StatusBadRequest && len(content.Examples) > 0 && content.Examples[code] == nil {
		t.Errorf("%s %s answers %d with the code %q, which its description does not name: %s", method, template, status, code, body)
	}
	c.validate(t, append(at, "content", mediaType, "schema"), method+" "+template+" "+strconv.Itoa(status), body)
}

// validate holds a body against the schema at a place of the document.
func (c *contract) validate(t *testing.T, at []string, what string, body []byte) {
	t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	pointer := ""
	for _, part := range at {
		pointer += "/" + escape.Replace(part)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("%s: %v in %s", what, err, body)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	schema := c.schemas[pointer]
	if schema == nil {
		if schema, err = c.compiler.Compile(contractURL + "#" + pointer); err != nil {
			t.Errorf("%s: the schema: %v", what, err)
			return
		}
		c.schemas[pointer] = schema
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s is not as its schema says: %v\n%s", what, err, body)
	}
}

// TestExamplesKeepTheContract holds every example of the document against the
// schema beside it.
func TestExamplesKeepTheContract(t *testing.T) {
	t.Parallel()
	app := startApp(t, adminSettings()...)
	_, raw := readOpenAPI(t, app.url)
	c := newContract(t, []byte(raw))
	checked := 0
	check := func(at []string, what string, content map[string]contentJSON) {
		for mediaType, body := range content {
			place := append(slices.Clone(at), "content", mediaType, "schema")
			examples := []json.RawMessage{}
			if len(body.Example) > 0 {
				examples = append(examples, body.Example)
			}
			for _, e := range body.Examples {
				examples = append(examples, e.Value)
			}
			for _, e := range examples {
				c.validate(t, place, what, e)
				checked++
			}
		}
	}
	for name, response := range c.doc.Components.Responses {
		check([]string{"components", "responses", name}, name, response.Content)
	}
	for path, operations := range c.doc.Paths {
		for method, op := range operations {
			at := []string{"paths", path, method}
			if op.RequestBody != nil {
				check(append(slices.Clone(at), "requestBody"), method+" "+path, op.RequestBody.Content)
			}
			for status, response := range op.Responses {
				check(append(slices.Clone(at), "responses", status), method+" "+path+" "+status, response.Content)
			}
		}
	}
	if checked == 0 {
		t.Error("the document has no examples")
	}
}
