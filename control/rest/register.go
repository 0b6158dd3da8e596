package rest

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/fault"
)

// handlerTimeout bounds what one operation may spend on the database, the bus
// and whatever else it asks. Slower than this is an outage, not patience.
const handlerTimeout = 30 * time.Second

// Operations returns what makes the operations of a feature. Their security
// says who may call them.
func Operations(tag string) func(method, path, summary string, security []map[string][]string) huma.Operation {
	return func(method, path, summary string, security []map[string][]string) huma.Operation {
		return huma.Operation{Method: method, Path: path, Summary: summary, Tags: []string{tag}, Security: security}
	}
}

// Register adds an operation whose handler simply returns errors: faults and
// the store's sentinels become their problem documents, anything else a 500
// whose cause is only logged. The handler's context ends when it returns, or
// after 30 s. It panics on an operation that huma refuses, at start-up.
//
// The operation's description names the refusals that may answer it, by status
// and code: those that come with its shape, such as validation_failed, and the
// ones that are given here because the handler makes them.
func Register[I, O any](
	api huma.API, op huma.Operation, handler func(context.Context, *I) (*O, error), refusals ...*fault.Error,
) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = problemResponse("Any error, as a problem document")
	for _, status := range op.Errors {
		op.Responses[strconv.Itoa(status)] = problemResponse(http.StatusText(status))
	}
	op.Errors = nil // huma would describe them by its own model
	if op.OperationID == "" {
		op.OperationID = huma.GenerateOperationID(op.Method, op.Path, (*O)(nil))
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, handlerTimeout)
		defer cancel()
		out, err := handler(ctx, in)
		if err != nil {
			return nil, ToHuma(err)
		}
		return out, nil
	})
	if described := registered(api, op.Method, op.Path); described != nil {
		describeRefusals(api, described, refusals)
		describeExample(described)
	}
	// huma declares its own error model beside ours; nothing refers to it.
	delete(api.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	delete(api.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
}

func problemResponse(description string) *huma.Response {
	return &huma.Response{Description: description, Content: ProblemContent()}
}

// ProblemContent is the body of an error.
func ProblemContent() map[string]*huma.MediaType {
	return map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: problemSchema}}}
}
