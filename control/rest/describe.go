package rest

import (
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/fault"
)

// Describe adds an operation that a plain handler answers to the API's
// description. It completes what such an operation leaves out: its errors, and
// the parameters of its path. With refusals, it names them and those that come
// with the operation's shape by status and code, as Register does.
func Describe(api huma.API, op *huma.Operation, refusals ...*fault.Error) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	if op.Responses["default"] == nil {
		op.Responses["default"] = problemResponse("Any error, as a problem document")
	}
	described := map[string]bool{}
	for _, p := range op.Parameters {
		described[p.Name] = true
	}
	var words []string
	for part := range strings.SplitSeq(op.Path, "/") {
		name, varies := strings.CutPrefix(part, "{")
		name = strings.TrimSuffix(name, "}")
		words = append(words, name)
		if varies && !described[name] {
			op.Parameters = append(op.Parameters, &huma.Param{
				Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
			})
		}
	}
	if op.OperationID == "" {
		op.OperationID = strings.ToLower(op.Method) + strings.Join(words, "-")
	}
	api.OpenAPI().AddOperation(op)
	if len(refusals) > 0 {
		describeRefusals(api, op, refusals)
	}
}

// Content is a body of one media type that is not JSON's.
func Content(mediaType string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: huma.TypeString}}}
}

// OrNull has the description of a registered operation say that what it answers
// may be null, which the operation's type cannot say.
func OrNull(api huma.API, op huma.Operation) {
	for _, body := range registered(api, op.Method, op.Path).Responses[strconv.Itoa(http.StatusOK)].Content {
		body.Schema = &huma.Schema{OneOf: []*huma.Schema{body.Schema, {Type: "null"}}}
	}
}

// OrPlain has the description of a GET that a plain handler answers say that a
// status may also come with a line of plain text, and why.
func OrPlain(api huma.API, path string, status int, why string) {
	responses, key := registered(api, http.MethodGet, path).Responses, strconv.Itoa(status)
	response := &huma.Response{Description: why, Content: Content("text/plain")}
	if known := responses[key]; known != nil {
		if name, shared := strings.CutPrefix(known.Ref, "#/components/responses/"); shared {
			known = api.OpenAPI().Components.Responses[name]
		}
		response.Description = known.Description + "\n\n" + why
		maps.Copy(response.Content, known.Content)
	}
	responses[key] = response
}

// OrRedirect has the description of a registered operation say that it may send
// a browser on to a page, with the same body.
func OrRedirect(api huma.API, op huma.Operation) {
	responses := registered(api, op.Method, op.Path).Responses
	location := map[string]*huma.Param{"Location": {Schema: &huma.Schema{Type: huma.TypeString}}}
	responses[strconv.Itoa(http.StatusFound)] = &huma.Response{
		Description: "The page to go on with", Headers: location, Content: responses[strconv.Itoa(http.StatusOK)].Content,
	}
}
