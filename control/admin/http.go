package admin

import (
	"context"
	"embed"
	"maps"
	"mime"
	"net/http"
	"net/http/pprof"
	"path"
	runtimepprof "runtime/pprof"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// challenge makes a browser ask for the password.
const challenge = `Basic realm="SecureCam administration", charset="UTF-8"`

// Mount adds the page, its API and the profiles.
func (s *Service) Mount(app fiber.Router, api huma.API) {
	components := api.OpenAPI().Components
	if components.SecuritySchemes == nil {
		components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	components.SecuritySchemes[auth.AdminScheme] = &huma.SecurityScheme{
		Type: "http", Scheme: "basic",
		Description: "ADMIN_USERNAME and ADMIN_PASSWORD; changes also need the header " + header + ": 1",
	}
	s.mountPage(app)
	s.mountAPI(api)
	s.mountObjects(app, api)
	app.Get("/admin/pprof/*", s.guarded(profile))
	const profiles = "/admin/pprof/{profile}"
	document(api, profiles, "Profiles of the Go runtime",
		"heap, goroutine, allocs, block, mutex, threadcreate; profile and trace take seconds=N, and debug=1 asks for text",
		[]string{"application/octet-stream", "text/plain"}, rest.ErrNotFound)
	rest.OrPlain(api, profiles, http.StatusBadRequest,
		"In plain text: `seconds` is no such number, or does not go with the profile or `debug`.")
	rest.OrPlain(api, profiles, http.StatusInternalServerError, "In plain text: somebody takes the same profile already.")
}

// operation makes one of the API's operations.
func (s *Service) operation(method, path, summary string) huma.Operation {
	return huma.Operation{
		Method: method, Path: "/admin/api" + path, Summary: summary, Tags: []string{"admin"},
		Security: []map[string][]string{{auth.AdminScheme: {}}}, Middlewares: huma.Middlewares{s.guardOperation},
	}
}

func (s *Service) guardOperation(ctx huma.Context, next func(huma.Context)) {
	r := rest.RequestOf(ctx.Context())
	err := s.guard.check(ctx.Context(), visit{
		method: ctx.Method(), authorization: ctx.Header("Authorization"), from: r.Network(),
		origin: ctx.Header("Origin"), own: r.Origin, marked: ctx.Header(header) != "",
	})
	if err != nil {
		rest.WriteError(ctx, err)
		ctx.SetHeader("WWW-Authenticate", challenge)
		return
	}
	ctx.SetHeader("Cache-Control", "no-store")
	next(ctx)
}

// guarded is guardOperation for plain handlers.
func (s *Service) guarded(h fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		r := rest.RequestOf(c.UserContext())
		err := s.guard.check(c.UserContext(), visit{
			method: c.Method(), authorization: c.Get(fiber.HeaderAuthorization), from: r.Network(),
			origin: c.Get(fiber.HeaderOrigin), own: r.Origin, marked: c.Get(header) != "",
		})
		if err != nil {
			c.Set(fiber.HeaderWWWAuthenticate, challenge)
			return rest.Problem(c, err)
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		return h(c)
	}
}

// profile serves one profile, or their list.
func profile(c *fiber.Ctx) error {
	name := strings.Clone(c.Params("*"))
	var h http.Handler
	switch name {
	case "":
		h = http.HandlerFunc(pprof.Index)
	case "profile":
		h = http.HandlerFunc(pprof.Profile)
	case "trace":
		h = http.HandlerFunc(pprof.Trace)
	default:
		if runtimepprof.Lookup(name) == nil {
			return fiber.ErrNotFound
		}
		h = pprof.Handler(name)
	}
	return adaptor.HTTPHandler(h)(c)
}

// document adds a file that huma does not serve to the OpenAPI document.
func document(api huma.API, path, summary, description string, contentTypes []string, refusals ...*fault.Error) {
	content := map[string]*huma.MediaType{}
	for _, contentType := range contentTypes {
		maps.Copy(content, rest.Content(contentType))
	}
	rest.Describe(api, &huma.Operation{
		Method: http.MethodGet, Path: path, Summary: summary, Description: description, Tags: []string{"admin"},
		Security:  []map[string][]string{{auth.AdminScheme: {}}},
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: content}},
	}, refusals...)
}

//go:embed page
var page embed.FS

// pagePolicy is the page's: everything from here, nothing inline.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (s *Service) mountPage(app fiber.Router) {
	types := map[string]string{
		"index.html": "text/html; charset=utf-8", "admin.css": "text/css; charset=utf-8", "admin.js": "text/javascript; charset=utf-8",
	}
	send := func(c *fiber.Ctx, name string) error {
		body, err := page.ReadFile("page/" + name)
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderContentSecurityPolicy, pagePolicy)
		c.Set(fiber.HeaderContentType, types[name])
		return c.Send(body)
	}
	app.Get("/admin", s.guarded(func(c *fiber.Ctx) error { return send(c, "index.html") }))
	app.Get("/admin/page/:file", s.guarded(func(c *fiber.Ctx) error {
		name := c.Params("file")
		if types[name] == "" || name == "index.html" {
			return fiber.ErrNotFound
		}
		return send(c, name)
	}))
}

type folderInput struct {
	Folder string `query:"folder" maxLength:"512" doc:"Without a slash at its end; the top if left out"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"200"`
	After  string `query:"after" maxLength:"255" doc:"The last name of the page before"`
}

type folderOutput struct {
	Body struct {
		Items []ObjectEntry `json:"items" nullable:"false"`
		More  bool          `json:"more" doc:"There are names behind the last one"`
	}
}

type objectInput struct {
	Key string `query:"key" required:"true" minLength:"1" maxLength:"512"`
}

func (s *Service) mountObjects(app fiber.Router, api huma.API) {
	rest.Register(api, s.operation(http.MethodGet, "/objects", "List a folder of the object store"),
		func(ctx context.Context, in *folderInput) (*folderOutput, error) {
			entries, more, err := s.folder(ctx, in.Folder, in.After, in.Limit)
			if err != nil {
				return nil, err
			}
			out := &folderOutput{}
			out.Body.More, out.Body.Items = more, make([]ObjectEntry, len(entries))
			for i, e := range entries {
				out.Body.Items[i] = toObjectEntry(e)
			}
			return out, nil
		}, errBadKey, errStorage)
	remove := s.operation(http.MethodDelete, "/objects", "Delete an object")
	remove.DefaultStatus = http.StatusNoContent
	rest.Register(api, remove, func(ctx context.Context, in *objectInput) (*struct{}, error) {
		return nil, s.deleteObject(ctx, in.Key)
	}, errBadKey, errObjectGone, errStorage)
	app.Get("/admin/objects/*", s.guarded(s.download))
	document(api, "/admin/objects/{key}", "Download an object", "The key may hold slashes.",
		[]string{"application/octet-stream"}, errBadKey, errObjectGone, errStorage)
}

// download streams an object as a file to keep: what cameras upload is no page
// of this origin.
func (s *Service) download(c *fiber.Ctx) error {
	key := strings.Clone(c.Params("*"))
	ctx := context.WithoutCancel(c.UserContext()) // the body is read after this handler
	info, err := s.cfg.Objects.Stat(ctx, key)
	if err != nil {
		return rest.Problem(c, objectFault(err))
	}
	if err := s.note(ctx, key, store.AuditDownload); err != nil {
		return rest.Problem(c, err)
	}
	body, err := s.cfg.Objects.Open(ctx, key, 0, -1)
	if err != nil {
		return rest.Problem(c, objectFault(err))
	}
	c.Set(fiber.HeaderContentType, "application/octet-stream")
	c.Set(fiber.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(key)}))
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; sandbox")
	return c.SendStream(body, int(info.Size))
}
