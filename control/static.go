package control

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"
)

const (
	webRoot = "/sim"
	page    = "sim/index.html"
)

// static serves the web app from memory.
type static struct {
	files map[string]file // by path below webRoot, "" is the page itself
}

type file struct {
	body        []byte
	contentType string
	etag        string
}

// newStatic reads the web app: sim/index.html becomes /sim, every other file
// /sim/<its path>.
func newStatic(fsys fs.FS) (*static, error) {
	s := &static{files: map[string]file{}}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		f := file{
			body: body, contentType: contentType(name),
			etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`,
		}
		if name == page {
			name = ""
		}
		s.files[name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("control: read the web app: %w", err)
	}
	if _, ok := s.files[""]; !ok {
		return nil, errors.New("control: the web app has no " + page)
	}
	return s, nil
}

func (s *static) mount(app fiber.Router) {
	app.Get("/", func(c *fiber.Ctx) error { return c.Redirect(webRoot, fiber.StatusFound) })
	app.Get(webRoot, s.serve)
	app.Get(webRoot+"/*", s.serve)
}

func (s *static) serve(c *fiber.Ctx) error {
	f, ok := s.files[c.Params("*")]
	if !ok {
		return fiber.ErrNotFound
	}
	// Names do not change with content, so browsers ask each time; the
	// answer is nearly always 304.
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderETag, f.etag)
	if matches(c.Get(fiber.HeaderIfNoneMatch), f.etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, f.contentType)
	return c.Send(f.body)
}

// matches compares an If-None-Match header weakly: RFC 9110, section 13.1.2.
func matches(header, etag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == etag || candidate == "*" {
			return true
		}
	}
	return false
}

func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js", ".mjs": // what the machine's own table says varies
		return "text/javascript; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json"
	case ".woff2":
		return "font/woff2"
	default:
		if known := mime.TypeByExtension(ext); known != "" {
			return known
		}
		return "application/octet-stream"
	}
}
