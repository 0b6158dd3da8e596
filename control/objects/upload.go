package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
)

// Uploads takes objects by signed URLs of its own. Its errors wrap fs.ErrExist
// and fs.ErrNotExist.
type Uploads interface {
	// VerifyPut checks the query of a signed URL and returns what was signed.
	VerifyPut(key string, query url.Values) (SignedUpload, error)
	// Create starts an object; one that exists, or that was begun and never
	// finished, is fs.ErrExist.
	Create(ctx context.Context, key, contentType string) (Upload, error)
	// Resume returns what was begun by a process that has died, and
	// fs.ErrNotExist when nothing was.
	Resume(ctx context.Context, key string) (Upload, error)
}

// SignedUpload is what a signed URL says of the object to come.
type SignedUpload struct {
	ContentType string
	Size        int64  // bytes, exactly
	Grant       string // by whose right it was given out
}

// Upload is an object in the making. It ends with Commit or Abort.
type Upload interface {
	io.Writer
	Commit(ctx context.Context) error
	Abort(ctx context.Context) error
}

// Awaited says whether somebody awaits an upload: not any more when its video
// or recording was deleted, or is complete.
type Awaited interface {
	AwaitsUpload(ctx context.Context, key string) (bool, error)
}

// What an upload may get wrong.
var (
	ErrLength    = fault.New(fault.Invalid, "wrong_length", "This link takes a body of exactly the size that was asked for.")
	ErrType      = fault.New(fault.UnsupportedMedia, "unsupported_media_type", "This link takes the content type that was asked for.")
	ErrExists    = fault.New(fault.Conflict, "object_exists", "This file was uploaded already, or is being uploaded.")
	ErrTruncated = fault.New(fault.Invalid, "truncated", "The upload broke off.")
	ErrUnwanted  = fault.New(fault.Gone, "upload_not_awaited", "Nobody awaits this upload any more.")
	ErrStorage   = fault.New(fault.Unavailable, "storage_unavailable", "The storage does not answer. Try again.")
)

const (
	uploadChunk = 256 << 10
	// chunkTimeout lets a chunk through at 70 kbit/s.
	chunkTimeout  = 30 * time.Second
	commitTimeout = 2 * time.Minute
)

// Accept adds PUT /objects/* to the routes that Mount adds.
func (s *Service) Accept(u Uploads, a Awaited) *Service {
	s.uploads, s.awaited = u, a
	return s
}

// IsUpload says whether a request brings an object: its body is read here, as
// it comes, and nowhere before.
func IsUpload(c *fiber.Ctx) bool {
	return c.Method() == fiber.MethodPut && len(c.Path()) > len(prefix) && c.Path()[:len(prefix)] == prefix
}

const prefix = "/objects/"

func (s *Service) mountUploads(app fiber.Router) {
	if s.uploads == nil {
		return
	}
	app.Put(prefix+"*", func(c *fiber.Ctx) error {
		if err := s.take(c); err != nil {
			// What is left of the body is not worth reading.
			c.Context().SetConnectionClose()
			if conn, ok := c.Context().Conn().(interface{ HearOut() }); ok {
				conn.HearOut()
			}
			return rest.Problem(c, err)
		}
		return c.SendStatus(http.StatusCreated)
	})
}

func (s *Service) take(c *fiber.Ctx) error {
	ctx := c.UserContext()
	key := utils.CopyString(c.Params("*"))
	query, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return ErrSignature
	}
	signed, err := s.uploads.VerifyPut(key, query)
	if err != nil {
		return ErrSignature.With(err)
	}
	switch {
	case int64(c.Request().Header.ContentLength()) != signed.Size:
		return ErrLength
	case string(c.Request().Header.ContentType()) != signed.ContentType:
		return ErrType
	}
	// Counted in before the question, so that no revocation falls between.
	transfer := s.incoming.begin(signed.Grant)
	defer s.incoming.end(transfer)
	if err := s.holds(ctx, signed.Grant); err != nil {
		return err
	}
	if err := s.awaits(ctx, key); err != nil {
		return err
	}
	w, err := s.create(ctx, key, signed.ContentType)
	if err != nil {
		return err
	}
	transfer.body = requestBody{c.Context().Conn(), c.Request().BodyStream()}
	commit := func(ctx context.Context) error {
		// It may have been deleted in the meantime. What is deleted from here on
		// is deleted with its object, or once more when the URL has expired.
		if err := s.awaits(ctx, key); err != nil {
			return err
		}
		return w.Commit(ctx)
	}
	if err := receive(ctx, w, commit, transfer, signed.Size); err != nil {
		return errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
	}
	return nil
}

// awaits returns ErrUnwanted when nobody awaits the object.
func (s *Service) awaits(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	awaited, err := s.awaited.AwaitsUpload(ctx, key)
	if err == nil && !awaited {
		return ErrUnwanted
	}
	return err
}

// create starts the object. What a process left of an earlier try, when it was
// killed, is given up: nobody can send the rest of it.
func (s *Service) create(ctx context.Context, key, contentType string) (Upload, error) {
	w, err := s.uploads.Create(ctx, key, contentType)
	if errors.Is(err, fs.ErrExist) {
		left, resumeErr := s.uploads.Resume(ctx, key)
		if resumeErr != nil { // it is complete, or being written
			return nil, ErrExists.With(err)
		}
		if err := left.Abort(ctx); err != nil {
			return nil, ErrStorage.With(err)
		}
		w, err = s.uploads.Create(ctx, key, contentType)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, ErrExists.With(err)
	case errors.Is(err, fs.ErrInvalid):
		return nil, ErrSignature.With(err)
	case err != nil:
		return nil, ErrStorage.With(err)
	}
	return w, nil
}

// receive copies the body of an upload into its object.
func receive(ctx context.Context, w io.Writer, commit func(context.Context) error, body io.Reader, size int64) error {
	chunk := make([]byte, uploadChunk)
	for left := size; left > 0; {
		if ctx.Err() != nil {
			return ErrTruncated.With(ctx.Err())
		}
		n, err := io.ReadFull(body, chunk[:min(left, uploadChunk)])
		if err != nil {
			if errors.Is(err, errCut) {
				return ErrRevoked.With(err)
			}
			return ErrTruncated.With(err)
		}
		if _, err := w.Write(chunk[:n]); err != nil {
			return ErrStorage.With(fmt.Errorf("write: %w", err))
		}
		left -= int64(n)
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := commit(ctx); err != nil {
		switch {
		case errors.Is(err, fs.ErrExist): // another process was faster
			return ErrExists.With(err)
		case errors.Is(err, ErrUnwanted):
			return err
		}
		return ErrStorage.With(fmt.Errorf("commit: %w", err))
	}
	return nil
}

// requestBody moves the deadline of its connection along with each read. Who
// sends too slowly is cut off.
type requestBody struct {
	conn net.Conn
	io.Reader
}

func (b requestBody) Read(p []byte) (int, error) {
	if b.conn != nil {
		if err := b.conn.SetReadDeadline(time.Now().Add(chunkTimeout)); err != nil {
			return 0, err
		}
	}
	return b.Reader.Read(p)
}

func (requestBody) Close() error { return nil }
