package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
)

const grantTimeout = 5 * time.Second

// contentPolicy keeps an object that is opened as a page from being one: what
// cameras upload must not run scripts on this origin.
const contentPolicy = "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; sandbox"

// Mount adds GET, HEAD and PUT /objects/*. They are plain handlers, because their
// bodies are files.
func (s *Service) Mount(app fiber.Router, api huma.API) {
	app.Get("/objects/*", func(c *fiber.Ctx) error {
		if err := s.serve(c); err != nil {
			c.Set(fiber.HeaderCacheControl, "no-store")
			return rest.Problem(c, err)
		}
		return nil
	})
	s.mountUploads(app)
	if api != nil {
		document(api)
	}
}

func (s *Service) serve(c *fiber.Ctx) error {
	// The body is read when this handler has returned, so nothing of the
	// request may be referred to and its context does not count.
	ctx := context.WithoutCancel(c.UserContext())
	key := utils.CopyString(c.Params("*"))
	query, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return ErrSignature
	}
	signed, err := s.files.Verify(utils.CopyString(c.Method()), key, query)
	if err != nil {
		return ErrSignature
	}
	// Counted in before the question, so that no revocation falls between.
	body := s.open.begin(signed.Grant)
	sending := false
	defer func() {
		if !sending {
			s.open.end(body)
		}
	}()
	if err := s.holds(ctx, signed.Grant); err != nil {
		return err
	}
	info, err := s.files.Stat(ctx, key)
	if err != nil {
		return notFound(err)
	}
	status, part := plan(c, info)
	if c.Method() == fiber.MethodHead || status >= http.StatusMultipleChoices {
		describe(c, info, signed.Filename, status, part)
		c.Response().SkipBody = true
		c.Response().Header.SetContentLength(int(part.n))
		return nil
	}
	if body.body, err = s.files.Open(ctx, key, part.off, part.n); err != nil {
		return notFound(err)
	}
	describe(c, info, signed.Filename, status, part)
	// Streamed, never in memory as a whole. What sends it closes it.
	sending = true
	return c.SendStream(body, int(part.n))
}

// holds asks, for at most a few seconds, whether the right to a URL stands.
func (s *Service) holds(ctx context.Context, grant string) error {
	ctx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	err := s.grants.Holds(ctx, grant)
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Unauthenticated {
		return ErrRevoked.With(err) // a signed URL has no credentials to send again
	}
	return err
}

// plan returns how to answer, and with which part of the object.
func plan(c *fiber.Ctx, info Info) (status int, part span) {
	tag := etag(info)
	if matches(c.Get(fiber.HeaderIfNoneMatch), tag) {
		return http.StatusNotModified, span{}
	}
	whole := span{n: info.Size}
	// RFC 9110, section 14.2: GET is the only method with ranges.
	if c.Method() != fiber.MethodGet {
		return http.StatusOK, whole
	}
	// Section 13.1.5: a range of another version is worth nothing. Objects do
	// not change, so an exact date is as good as an entity tag.
	if condition := c.Get(fiber.HeaderIfRange); condition != "" && condition != tag && condition != lastModified(info) {
		return http.StatusOK, whole
	}
	part, answer := parseRange(c.Get(fiber.HeaderRange), info.Size)
	switch answer {
	case partOfObject:
		return http.StatusPartialContent, part
	case noSuchPart:
		return http.StatusRequestedRangeNotSatisfiable, span{}
	case wholeObject:
	}
	return http.StatusOK, whole
}

// describe sets the status and the header.
func describe(c *fiber.Ctx, info Info, filename string, status int, part span) {
	c.Status(status)
	c.Set(fiber.HeaderContentType, info.ContentType)
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderETag, etag(info))
	c.Set(fiber.HeaderLastModified, lastModified(info))
	c.Set(fiber.HeaderCacheControl, "private")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderContentSecurityPolicy, contentPolicy)
	if filename != "" {
		c.Set(fiber.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": filename}))
	}
	switch status {
	case http.StatusPartialContent:
		c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", part.off, part.off+part.n-1, info.Size))
	case http.StatusRequestedRangeNotSatisfiable:
		c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes */%d", info.Size))
	}
}

func lastModified(info Info) string { return info.ModTime.UTC().Format(http.TimeFormat) }

// etag is strong: an object never changes, and a new one under its key has
// another time.
func etag(info Info) string {
	return fmt.Sprintf(`"%x-%x"`, info.ModTime.UnixNano(), info.Size)
}

// matches compares by If-None-Match (RFC 9110, section 13.1.2).
func matches(header, tag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound.With(err)
	}
	return ErrStorage.With(err)
}
