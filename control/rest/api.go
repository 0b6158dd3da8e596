package rest

import (
	"encoding/json"
	"mime"
	"net/http"
	"path"
	"reflect"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/fault"
)

// Config describes the API to its readers.
type Config struct {
	Title   string // "SecureCam" if empty
	Version string // "dev" if empty
}

const problemSchema = "#/components/schemas/Problem"

// New returns an API whose operations answer on app: JSON only, errors as
// problem documents, OpenAPI 3.1 at /openapi.json. Middleware (auth.Use) must
// be added before the first Register.
func New(app *fiber.App, cfg Config) huma.API {
	if cfg.Title == "" {
		cfg.Title = "SecureCam"
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	hc := huma.DefaultConfig(cfg.Title, cfg.Version)
	hc.CreateHooks = nil // no $schema member and describedby link in every answer
	hc.DocsPath = ""     // the page would load a CDN
	hc.SchemasPath = ""
	hc.OpenAPIPath = "" // huma's handlers cache the document without a lock
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	hc.Formats = map[string]huma.Format{"application/json": format, "json": format} // json: the suffix of problem+json
	hc.Transformers = []huma.Transformer{asDocument}
	hc.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaNames())

	api := humafiber.NewV2WithGroup(app, withHead{app}, hc)
	api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Document](), true, "")
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		if err := checkMediaType(ctx); err != nil {
			WriteError(ctx, err)
			return
		}
		next(ctx)
	})
	serveDocument(app, api)
	return api
}

// withHead answers HEAD wherever GET is answered, as RFC 9110, section 9.1 asks
// for. The body that the handler makes is not sent.
type withHead struct{ fiber.Router }

func (r withHead) Add(method, path string, handlers ...fiber.Handler) fiber.Router {
	if method == http.MethodGet {
		r.Router.Add(http.MethodHead, path, handlers...)
	}
	return r.Router.Add(method, path, handlers...)
}

// WriteError answers a request from within huma middleware.
func WriteError(ctx huma.Context, err error) {
	doc := documentOf(err)
	report(ctx.Context(), doc)
	for name, values := range doc.GetHeaders() {
		ctx.SetHeader(name, values[0])
	}
	ctx.SetHeader(fiber.HeaderContentType, problemType)
	ctx.SetStatus(doc.Status)
	// The document always marshals and the body is a buffer in memory.
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(doc)
}

// asDocument turns huma's own error bodies into problem documents. It sees
// every body that an operation answers.
func asDocument(ctx huma.Context, _ string, body any) (any, error) {
	switch b := body.(type) {
	case *huma.ErrorModel:
		doc := documentOf(b)
		report(ctx.Context(), doc)
		return doc, nil
	case *Document:
		report(ctx.Context(), b)
	}
	return body, nil
}

var errMediaType = fault.New(fault.UnsupportedMedia, "unsupported_media_type", "This address takes application/json.")

// checkMediaType refuses a body of a type that the operation does not declare.
// A body without a type is refused as well: browsers can be made to send one
// across origins without a preflight.
func checkMediaType(ctx huma.Context) error {
	declared := ctx.Operation().RequestBody
	if declared == nil || humafiber.UnwrapV2(ctx).Request().Header.ContentLength() == 0 {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(ctx.Header(fiber.HeaderContentType))
	if err != nil {
		return errMediaType
	}
	if _, ok := declared.Content[mediaType]; !ok {
		return errMediaType
	}
	return nil
}

// serveDocument answers /openapi.json, which is complete once the first
// request arrives.
func serveDocument(app *fiber.App, api huma.API) {
	document := sync.OnceValues(func() ([]byte, error) { return json.Marshal(api.OpenAPI()) })
	app.Get("/openapi.json", func(c *fiber.Ctx) error {
		body, err := document()
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderContentType, "application/vnd.oai.openapi+json;version=3.1")
		return c.Status(http.StatusOK).Send(body)
	})
}

// schemaNames names types in the OpenAPI document by their bare name. Features
// may use the same word for different types: the second one gets its package's
// name in front.
func schemaNames() func(t reflect.Type, hint string) string {
	taken := map[string]reflect.Type{}
	return func(t reflect.Type, hint string) string {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t == reflect.TypeFor[Document]() {
			return path.Base(problemSchema)
		}
		name := huma.DefaultSchemaNamer(t, hint)
		if t.Name() == "" {
			return name
		}
		if first, ok := taken[name]; ok && first != t {
			pkg := path.Base(t.PkgPath())
			name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
		}
		taken[name] = t
		return name
	}
}
