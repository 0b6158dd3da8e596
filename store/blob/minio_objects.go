package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"
)

// Stat implements Store.
func (m *MinIO) Stat(ctx context.Context, key string) (Info, error) {
	if err := checkKey(key); err != nil {
		return Info{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o, err := m.core.StatObject(ctx, m.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return Info{}, minioError("stat", key, err)
	}
	return Info{Key: key, Size: o.Size, ContentType: o.ContentType, ModTime: o.LastModified.UTC()}, nil
}

// Open implements Store. ctx bounds the reading, too.
func (m *MinIO) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	info, err := m.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if off < 0 || off > info.Size {
		return nil, ErrRange
	}
	if n < 0 || n > info.Size-off {
		n = info.Size - off
	}
	if n == 0 { // S3 has no empty range
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	var options minio.GetObjectOptions
	if err := options.SetRange(off, off+n-1); err != nil {
		return nil, ErrRange
	}
	body, _, _, err := m.core.GetObject(ctx, m.bucket, key, options)
	if err != nil {
		return nil, minioError("open", key, err)
	}
	return body, nil
}

// Delete implements Store.
func (m *MinIO) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if !m.claims.take(key) {
		return ErrBusy
	}
	defer m.claims.drop(key)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := m.core.RemoveObject(ctx, m.bucket, key, minio.RemoveObjectOptions{}); err != nil {
		return minioError("delete", key, err)
	}
	entry, err := m.spool.load(key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(m.abortUpload(ctx, entry), entry.remove())
}

// abortUpload frees the parts that the server already has.
func (m *MinIO) abortUpload(ctx context.Context, e *spoolEntry) error {
	if e.journal.UploadID == "" {
		return nil
	}
	err := m.core.AbortMultipartUpload(ctx, m.bucket, e.journal.Key, e.journal.UploadID)
	if errorCode(err) == minio.NoSuchUpload {
		return nil
	}
	if err != nil {
		return minioError("abort", e.journal.Key, err)
	}
	return nil
}

// SignGet implements Store. The longest TTL is seven days.
func (m *MinIO) SignGet(ctx context.Context, key string, o SignOptions) (string, time.Time, error) {
	if err := checkSign(key, o); err != nil {
		return "", time.Time{}, err
	}
	override := url.Values{}
	if o.Filename != "" {
		override.Set("response-content-disposition",
			mime.FormatMediaType("attachment", map[string]string{"filename": o.Filename}))
	}
	expires := time.Now().Add(o.TTL).Truncate(time.Second).UTC()
	u, err := m.public.PresignedGetObject(ctx, m.bucket, key, o.TTL, override)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("blob: sign %s: %w", key, err)
	}
	return u.String(), expires, nil
}

// SignPut implements Store. The longest TTL is seven days. The signature covers
// the length, so the server refuses any other.
func (m *MinIO) SignPut(ctx context.Context, key string, o PutOptions) (SignedPut, error) {
	if err := checkPut(key, o); err != nil {
		return SignedPut{}, err
	}
	expires := time.Now().Add(o.TTL).Truncate(time.Second).UTC()
	header := map[string]string{headerType: o.ContentType, headerNew: "*"}
	signed := http.Header{"Content-Length": {strconv.FormatInt(o.Size, 10)}}
	for name, value := range header {
		signed.Set(name, value)
	}
	u, err := m.public.PresignHeader(ctx, http.MethodPut, m.bucket, key, o.TTL, nil, signed)
	if err != nil {
		return SignedPut{}, fmt.Errorf("blob: sign %s: %w", key, err)
	}
	return SignedPut{URL: u.String(), Header: header, Expires: expires}, nil
}

// Ping implements Store.
func (m *MinIO) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	exists, err := m.core.BucketExists(ctx, m.bucket)
	if err == nil && !exists {
		err = errors.New("no such bucket")
	}
	if err != nil {
		return fmt.Errorf("blob: MinIO at %s, bucket %s: %w", m.endpoint, m.bucket, err)
	}
	return nil
}

// minioError turns a server's answer into one of this package's errors.
func minioError(op, key string, err error) error {
	if errorCode(err) == minio.NoSuchKey {
		return ErrNotFound
	}
	return fmt.Errorf("blob: %s %s: %w", op, key, err)
}

// errorCode returns the S3 code of a server's answer, "" for other errors.
func errorCode(err error) string {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}
