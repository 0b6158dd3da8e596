// Package docs shows the API's description to people, at /docs: Swagger UI
// from this binary, with no asset of anybody else.
package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

//go:embed swagger
var files embed.FS

// asset is one file of the page.
type asset struct {
	plain, zipped []byte // zipped is nil for what is small
	contentType   string
	etag          string
}

// Service serves the page.
type Service struct {
	page   asset
	assets map[string]asset
}

// New reads the page from the binary.
func New() (*Service, error) {
	s := &Service{assets: map[string]asset{}}
	for _, f := range []struct{ name, contentType string }{
		{"index.html", "text/html; charset=utf-8"},
		{"docs.js", "text/javascript; charset=utf-8"},
		{"docs.css", "text/css; charset=utf-8"},
		{"swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"},
		{"swagger-ui.css.gz", "text/css; charset=utf-8"},
	} {
		a, err := read(f.name)
		if err != nil {
			return nil, fmt.Errorf("docs: %w", err)
		}
		a.contentType = f.contentType
		s.assets[strings.TrimSuffix(f.name, ".gz")] = a
	}
	s.page = s.assets["index.html"]
	delete(s.assets, "index.html")
	return s, nil
}

func read(name string) (asset, error) {
	raw, err := files.ReadFile("swagger/" + name)
	if err != nil {
		return asset{}, err
	}
	sum := sha256.Sum256(raw)
	a := asset{plain: raw, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
	if !strings.HasSuffix(name, ".gz") {
		return a, nil
	}
	a.plain, a.zipped = nil, raw
	return a, nil
}

// unzipped returns the file for the rare client that does not take gzip.
func (a asset) unzipped() ([]byte, error) {
	if a.zipped == nil {
		return a.plain, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(a.zipped))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
