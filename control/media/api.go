package media

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
)

// schemeMedia names the bearer scheme of media tokens in the OpenAPI document.
const schemeMedia = "media"

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type credentialsOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         Credentials
}

type goLiveOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		MediaSession mediaSession `json:"mediaSession"`
		Credentials  Credentials  `json:"credentials"`
	}
}

// What package streams refuses, who opens and ends media sessions.
var (
	errNotInP2P  = fault.New(fault.Conflict, "not_in_p2p", "Devices send media to each other here: a camera is live while watched.")
	errEndedLive = fault.New(fault.Conflict, "media_session_ended", "The media session has already ended.")
)

// noStore keeps tokens out of every cache.
const noStore = "no-store"

func (s *Service) operations(api huma.API) {
	op := func(method, path, summary string) huma.Operation {
		return huma.Operation{Method: method, Path: path, Summary: summary, Tags: []string{"media"}, Security: auth.Device}
	}
	rest.Register(api, op(http.MethodGet, "/streams/{id}/publish-credentials", "Get what publishing a stream needs"),
		func(ctx context.Context, in *idInput) (*credentialsOutput, error) {
			return answered(s.PublishCredentials(ctx, principal(ctx), in.ID, origin(ctx)))
		}, ErrNotStreaming, auth.ErrForbidden)
	rest.Register(api, op(http.MethodGet, "/streams/{id}/subscribe-credentials", "Get what watching a stream needs"),
		func(ctx context.Context, in *idInput) (*credentialsOutput, error) {
			return answered(s.SubscribeCredentials(ctx, principal(ctx), in.ID, origin(ctx)))
		}, ErrNotStreaming, auth.ErrForbidden)
	s.mountSessions(api)
	goLive := op(http.MethodPost, "/media-sessions", "Go live without being asked")
	goLive.DefaultStatus = http.StatusCreated
	rest.Register(api, goLive, func(ctx context.Context, _ *struct{}) (*goLiveOutput, error) {
		m, c, err := s.GoLive(ctx, principal(ctx), origin(ctx))
		if err != nil {
			return nil, err
		}
		out := &goLiveOutput{CacheControl: noStore}
		out.Body.MediaSession, out.Body.Credentials = toMediaSession(m), c
		return out, nil
	}, errNotInP2P, auth.ErrForbidden)
	rest.Register(api, op(http.MethodDelete, "/media-sessions/{id}", "Stop being live"),
		func(ctx context.Context, in *idInput) (*struct{}, error) {
			return nil, s.sessions.EndMedia(ctx, principal(ctx), in.ID)
		}, errEndedLive, auth.ErrForbidden)
}

func answered(c Credentials, err error) (*credentialsOutput, error) {
	if err != nil {
		return nil, err
	}
	return &credentialsOutput{CacheControl: noStore, Body: c}, nil
}

// principal is who the middleware let through.
func principal(ctx context.Context) auth.Principal {
	p, _ := auth.From(ctx)
	return p
}

// document adds WHIP and WHEP, which huma does not serve, to the OpenAPI
// document.
func document(api huma.API) {
	doc := api.OpenAPI()
	if doc.Components.SecuritySchemes == nil {
		doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	doc.Components.SecuritySchemes[schemeMedia] = &huma.SecurityScheme{
		Type: "http", Scheme: "bearer", Description: "A token from publish-credentials or subscribe-credentials",
	}
	for _, d := range []direction{publish, subscribe} {
		for _, op := range operationsOf(d) {
			rest.Describe(api, op)
		}
	}
	for _, op := range extensionOperations() {
		rest.Describe(api, op)
	}
	documentQuality(doc)
}

// documentQuality adds what only viewers have.
func documentQuality(doc *huma.OpenAPI) {
	wish := huma.SchemaFromType(doc.Components.Schemas, reflect.TypeFor[Quality]())
	session := doc.Paths["/whep/{mediaSessionId}/{sessionId}"].Patch
	session.Summary += ", or choose a quality"
	session.RequestBody.Content[typeJSON] = &huma.MediaType{Schema: wish}
	endpoint := doc.Paths["/whep/{mediaSessionId}"].Post
	endpoint.Parameters = append(endpoint.Parameters, &huma.Param{
		Name: "maxHeight", In: "query", Schema: &huma.Schema{Type: huma.TypeInteger},
		Description: "Pixels of the picture's shorter side at most",
	}, &huma.Param{
		Name: "live", In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean},
		Description: "Show pictures as soon as they come, even if some are then missing: to steer a camera by them",
	})
	camera := doc.Paths["/whip/{mediaSessionId}"].Post
	camera.Parameters = append(camera.Parameters, &huma.Param{
		Name: "talkback", In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean},
		Description: "Whether viewers may talk to the camera: an audio section that is offered sendrecv is then answered sendrecv",
	})
}

func operationsOf(d direction) []*huma.Operation {
	protocol, title := protocolOf(d), "WHIP (RFC 9725)"
	if d == subscribe {
		title = "WHEP (draft-ietf-wish-whep)"
	}
	endpoint := "/" + protocol + "/{mediaSessionId}"
	op := func(method, path, id, summary string, params []string, responses map[string]*huma.Response) *huma.Operation {
		o := &huma.Operation{
			Method: method, Path: path, OperationID: protocol + "-" + id, Summary: title + ": " + summary,
			Tags: []string{"media"}, Security: []map[string][]string{{schemeMedia: {}}}, Responses: responses,
		}
		for _, name := range params {
			o.Parameters = append(o.Parameters,
				&huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
		return o
	}
	one, two := []string{"mediaSessionId"}, []string{"mediaSessionId", "sessionId"}
	post := op(http.MethodPost, endpoint, "post", "open a session", one, map[string]*huma.Response{
		"201": {Description: "The SDP answer; Location is the session, Link the ICE servers", Content: text(typeSDP)},
		"307": {Description: "Another node holds the media session: Location is there"},
		"409": {Description: "Nobody publishes yet: try again after Retry-After"},
		"422": {Description: "The offer is valid, but not supported"},
	})
	post.RequestBody = &huma.RequestBody{Required: true, Content: text(typeSDP)}
	patch := op(http.MethodPatch, endpoint+"/{sessionId}", "patch", "add ICE candidates or restart ICE", two, map[string]*huma.Response{
		"200": {Description: "ICE has been restarted; ETag is the new ICE session's", Content: text(typeSDPFrag)},
		"204": {Description: "Candidates have been added"},
		"412": {Description: "If-Match names another ICE session"},
		"428": {Description: "If-Match is missing"},
		"429": {Description: "Too many updates: try again after Retry-After"},
	})
	patch.RequestBody = &huma.RequestBody{Required: true, Content: text(typeSDPFrag)}
	remove := op(http.MethodDelete, endpoint+"/{sessionId}", "delete", "end the session", two, map[string]*huma.Response{
		"200": {Description: "Ended"},
	})
	return []*huma.Operation{post, patch, remove}
}

// extensionOperations are those of WHEP's core extensions.
func extensionOperations() []*huma.Operation {
	const session = "/whep/{mediaSessionId}/{sessionId}"
	op := func(method, path, id, summary string, responses map[string]*huma.Response) *huma.Operation {
		return &huma.Operation{
			Method: method, Path: session + path, OperationID: "whep-" + id, Summary: "WHEP extension: " + summary,
			Tags: []string{"media"}, Security: []map[string][]string{{schemeMedia: {}}}, Responses: responses,
		}
	}
	open := op(http.MethodPost, "/events", "events-open", "open a stream of events", map[string]*huma.Response{
		"201": {Description: "Location is the stream"},
	})
	open.RequestBody = &huma.RequestBody{Description: "An array of the events' names; all without it", Content: text(typeJSON)}
	read := op(http.MethodGet, "/events/{stream}", "events-read", "read events as they come", map[string]*huma.Response{
		"200": {Description: "Server-sent events", Content: text("text/event-stream")},
	})
	read.Security = nil // EventSource sends no token: the URL, which is signed, is the credential
	layer := op(http.MethodPost, "/layer", "layer", "choose a layer", map[string]*huma.Response{
		"200": {Description: "Chosen"},
	})
	layer.RequestBody = &huma.RequestBody{
		Description: "mediaId, rid, maxWidth, maxHeight; {} leaves it to the server",
		Content:     text(typeJSON),
	}
	return []*huma.Operation{
		open, read, layer,
		op(http.MethodDelete, "/events/{stream}", "events-close", "close a stream of events", map[string]*huma.Response{
			"200": {Description: "Closed"},
		}),
	}
}

func text(mediaType string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: huma.TypeString}}}
}
