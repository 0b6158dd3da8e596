package gateway

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
)

// document adds the WebSockets to the OpenAPI document, which knows only how
// they begin.
func document(api huma.API) {
	refused := rest.ProblemContent()
	refused["application/json"] = &huma.MediaType{
		Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[engineFault](), true, ""),
	}
	unknown := &huma.Response{Description: "In Engine.IO's words: the transport or its version is unknown", Content: refused}
	upgraded := map[string]*huma.Response{
		"101": {Description: "The connection is a WebSocket now"},
		"426": {Description: "The request does not ask for a WebSocket"},
		"503": {Description: "Too many connections: try again later"},
	}
	text := &huma.Schema{Type: huma.TypeString}
	rest.Describe(api, &huma.Operation{
		OperationID: "realtime", Method: http.MethodGet, Path: "/realtime", Tags: []string{"realtime"}, Security: auth.Device,
		Summary: "Connect a device for events, by WebSocket",
		Description: "Messages are JSON texts {\"event\", \"id\", \"data\"}. Without the Authorization header, which browsers cannot set " +
			"here, the first message is {\"event\": \"authenticate\", \"data\": {\"token\": …}}. control/gateway/PROTOCOL.md has the rest.",
		Responses: upgraded,
	})
	rest.Describe(api, &huma.Operation{
		OperationID: "socketIO", Method: http.MethodGet, Path: "/socket.io/", Tags: []string{"realtime"},
		Summary:     "Connect a device for events, by Socket.IO 5",
		Description: "For socket.io-client with transports: [\"websocket\"]. The device token is auth.token of its handshake.",
		Parameters: []*huma.Param{
			{Name: "EIO", In: "query", Required: true, Description: "4", Schema: text},
			{Name: "transport", In: "query", Required: true, Description: "websocket", Schema: text},
		},
		Responses: map[string]*huma.Response{"101": upgraded["101"], "400": unknown, "426": upgraded["426"], "503": upgraded["503"]},
	})
	rest.Describe(api, &huma.Operation{
		OperationID: "socketIOPolling", Method: http.MethodPost, Path: "/socket.io/", Tags: []string{"realtime"},
		Summary:   "Answers that polling is not spoken here",
		Responses: map[string]*huma.Response{"400": unknown},
	})
}
