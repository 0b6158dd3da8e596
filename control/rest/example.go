package rest

import (
	"encoding/json"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// exampleKey is where an operation keeps its example until it is registered.
const exampleKey = "securecam.example"

type example struct{ request, response json.RawMessage }

// Shown returns the operation with an example of what it takes and of what it
// answers, both JSON, "" for none. A test holds them against the schemas.
func Shown(op huma.Operation, request, response string) huma.Operation {
	op.Metadata = map[string]any{exampleKey: example{json.RawMessage(request), json.RawMessage(response)}}
	return op
}

// describeExample puts the example into the description.
func describeExample(op *huma.Operation) {
	e, ok := op.Metadata[exampleKey].(example)
	if !ok {
		return
	}
	if op.RequestBody != nil && len(e.request) > 0 {
		for _, body := range op.RequestBody.Content {
			body.Example = e.request
		}
	}
	for status, response := range op.Responses {
		if !strings.HasPrefix(status, "2") || len(e.response) == 0 {
			continue
		}
		for _, body := range response.Content {
			body.Example = e.response
		}
	}
}
