package rest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/fault"
)

// What the store may refuse, for the operations that name it as theirs.
var (
	// ErrState is what store.ErrConflict becomes.
	ErrState = fault.New(fault.Conflict, "conflict", "That is not possible in the current state.")
	// ErrLimitReached is what store.ErrFull becomes.
	ErrLimitReached = fault.New(fault.Conflict, "limit_reached", "There are as many of these as one may have. Remove one first.")
	// ErrStorageLimit is what store.ErrNoStorage becomes.
	ErrStorageLimit = fault.New(fault.Forbidden, "storage_limit",
		"Videos and recordings take up all the space of this account. Delete some.")
	// ErrNotFound is what store.ErrNotFound becomes. Operations on one thing, with
	// its id in the path, name it by themselves.
	ErrNotFound = fault.New(fault.NotFound, "not_found", "There is no such thing here.")
)

const noSpace fault.Kind = http.StatusInsufficientStorage

// refusal is one way in which an operation may be refused.
type refusal struct {
	status        int
	code, message string
}

// refusalsOf returns how an operation may be refused: in the ways that its
// shape brings with it, and in those that it names.
func refusalsOf(op *huma.Operation, named []*fault.Error) []refusal {
	var list []refusal
	add := func(kind fault.Kind, code, message string) { list = append(list, refusal{int(kind), code, message}) }
	for _, f := range named {
		add(f.Kind, f.Code, f.Message)
	}
	add(fault.TooMany, "rate_limited", "Too many requests. Please try again later.")
	add(http.StatusInternalServerError, "internal", "Internal server error")
	add(fault.Unavailable, "unavailable", "The server cannot do that now. Try again.")
	add(fault.Unavailable, "timeout", "The server took too long.")
	add(fault.Invalid, "invalid_request", "The request cannot be understood.")
	if len(op.Security) > 0 {
		add(fault.Unauthenticated, "unauthenticated", "Sign in first, or send a valid token.")
	}
	changes := op.Method != http.MethodGet
	if changes {
		add(noSpace, "storage_full", "The server has no space left.")
	}
	if asksFor(op, "admin") {
		add(fault.TooMany, "too_many_attempts", "Too many wrong passwords. Wait a few minutes.")
	}
	if changes && (asksFor(op, "session") || asksFor(op, "admin")) {
		add(fault.Forbidden, "invalid_origin", "This page may not do that with your session.")
	}
	if strings.Contains(op.Path, "{") && len(op.Security) > 0 {
		add(ErrNotFound.Kind, ErrNotFound.Code, ErrNotFound.Message)
	}
	if op.RequestBody != nil {
		add(fault.Invalid, "malformed_body", "The body is missing or is not valid JSON.")
		add(fault.TooLarge, "too_large", "The request is too large.")
		add(fault.UnsupportedMedia, "unsupported_media_type", "This address takes application/json.")
		add(fault.UnsupportedMedia, "unsupported_encoding", "Send the body without a content encoding.")
	}
	if op.RequestBody != nil || len(op.Parameters) > 0 {
		add(fault.Unprocessable, "validation_failed", "The request is not valid.")
	}
	if slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.Name == "cursor" }) {
		add(ErrBadCursor.Kind, ErrBadCursor.Code, ErrBadCursor.Message)
	}
	return list
}

func asksFor(op *huma.Operation, scheme string) bool {
	return slices.ContainsFunc(op.Security, func(r map[string][]string) bool { _, ok := r[scheme]; return ok })
}

// describeRefusals adds a response for each status, which names its codes and
// shows an answer with each. Operations that are refused alike share them.
func describeRefusals(api huma.API, op *huma.Operation, named []*fault.Error) {
	byStatus := map[int][]refusal{}
	for _, r := range refusalsOf(op, named) {
		same := func(other refusal) bool { return other.code == r.code }
		if !slices.ContainsFunc(byStatus[r.status], same) {
			byStatus[r.status] = append(byStatus[r.status], r)
		}
	}
	components := api.OpenAPI().Components
	if components.Responses == nil {
		components.Responses = map[string]*huma.Response{}
	}
	for status, list := range byStatus {
		slices.SortFunc(list, func(a, b refusal) int { return strings.Compare(a.code, b.code) })
		name := strconv.Itoa(status)
		for _, r := range list {
			name += "." + r.code
		}
		if components.Responses[name] == nil {
			components.Responses[name] = refusalResponse(status, list)
		}
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + name}
	}
}

func refusalResponse(status int, list []refusal) *huma.Response {
	response := problemResponse("")
	body := response.Content[problemType]
	body.Examples = map[string]*huma.Example{}
	lines := make([]string, len(list))
	for i, r := range list {
		lines[i] = "`" + r.code + "`: " + r.message
		body.Examples[r.code] = &huma.Example{Summary: r.message, Value: newDocument(status, r.code, r.message, nil)}
	}
	response.Description = http.StatusText(status) + "\n\n" + strings.Join(lines, "\n\n")
	return response
}

// registered returns the operation that huma has made of what it was given.
func registered(api huma.API, method, path string) *huma.Operation {
	item := api.OpenAPI().Paths[path]
	if item == nil {
		return nil
	}
	return map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
		http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[method]
}
