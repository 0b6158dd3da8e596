package objects

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/rest"
)

// document adds what is served here to the OpenAPI document. The signature in
// the query is the credential.
func document(api huma.API) {
	const path, file = "/objects/{key}", "application/octet-stream"
	signature := []*huma.Param{
		{Name: "expires", In: "query", Required: true, Description: "Unix seconds", Schema: &huma.Schema{Type: huma.TypeInteger}},
		{Name: "by", In: "query", Description: "The right by which the URL was given out", Schema: &huma.Schema{Type: huma.TypeString}},
		{Name: "sig", In: "query", Required: true, Description: "Signs method, key and query", Schema: &huma.Schema{Type: huma.TypeString}},
	}
	const note = "The whole URL comes from another answer, such as a download-url or an upload-url, and is its own credential: " +
		"anybody who has it may use it until it expires, or until the right that it was given out by is revoked. The key may hold slashes."
	rest.Describe(api, &huma.Operation{
		Method: http.MethodGet, Path: path, Summary: "Read a file by a signed URL", Description: note, Tags: []string{"objects"},
		Parameters: append([]*huma.Param{
			{Name: "filename", In: "query", Description: "Offers a file to keep", Schema: &huma.Schema{Type: huma.TypeString}},
			{Name: "Range", In: "header", Description: "One range of bytes", Schema: &huma.Schema{Type: huma.TypeString}},
		}, signature...),
		Responses: map[string]*huma.Response{
			"200": {Description: "The file", Content: rest.Content(file)},
			"206": {Description: "The range", Content: rest.Content(file)},
			"304": {Description: "The client has it already"},
			"416": {Description: "The range is outside the file"},
		},
	})
	rest.Describe(api, &huma.Operation{
		Method: http.MethodPut, Path: path, Summary: "Write a file by a signed URL", Description: note, Tags: []string{"objects"},
		Parameters:  signature,
		RequestBody: &huma.RequestBody{Required: true, Content: rest.Content(file)},
		Responses:   map[string]*huma.Response{"200": {Description: "Written"}},
	})
}
