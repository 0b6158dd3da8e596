package blob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
)

// publish uploads what is left, the head last, and makes the object. It may
// be repeated at any point, also by the next process.
func (u *uploader) publish(ctx context.Context, last segment) error {
	published, err := u.published(ctx)
	if published || err != nil {
		return err
	}
	if last.number == 1 {
		return u.putWhole(ctx, last)
	}
	if err = u.complete(ctx, last); err == nil {
		return nil
	}
	if errorCode(err) == minio.NoSuchUpload {
		// Perhaps it was completed and only the answer got lost.
		if published, statErr := u.published(ctx); published || statErr != nil {
			return statErr
		}
	}
	return u.lost(err)
}

// published says whether the object is there and is this writer's.
func (u *uploader) published(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := u.store.core.StatObject(ctx, u.store.bucket, u.entry.journal.Key, minio.StatObjectOptions{})
	switch {
	case errorCode(err) == minio.NoSuchKey:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("blob: stat %s: %w", u.entry.journal.Key, err)
	}
	for name, value := range info.UserMetadata {
		if strings.EqualFold(name, markName) && value == u.entry.journal.Mark {
			return true, nil
		}
	}
	return false, ErrExists
}

// putWhole makes an object that never became more than one part.
func (u *uploader) putWhole(ctx context.Context, g segment) error {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	f, err := os.Open(u.entry.path(g.number))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	m, key := u.store, u.entry.journal.Key
	if _, err := m.core.PutObject(ctx, m.bucket, key, f, g.size, "", "", u.options()); err != nil {
		return fmt.Errorf("blob: put %s: %w", key, err)
	}
	m.parts.Add(1)
	return nil
}

func (u *uploader) complete(ctx context.Context, last segment) error {
	j := &u.entry.journal
	parts := make([]minio.CompletePart, 1, len(j.Uploaded)+2)
	for i, part := range j.Uploaded {
		parts = append(parts, minio.CompletePart{PartNumber: i + 2, ETag: part.ETag})
	}
	if last.size > 0 { // else Truncate took back its only Write
		part, err := u.put(ctx, last)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	head, err := u.put(ctx, u.head)
	if err != nil {
		return err
	}
	parts[0] = head
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	_, err = u.store.core.CompleteMultipartUpload(ctx, u.store.bucket, j.Key, j.UploadID, parts, minio.PutObjectOptions{})
	if err != nil {
		return fmt.Errorf("blob: complete %s: %w", j.Key, err)
	}
	return nil
}

// lost looks at the error of an upload that the server may have forgotten.
// While every byte is still in the spool, another upload can begin.
func (u *uploader) lost(err error) error {
	if errorCode(err) != minio.NoSuchUpload {
		return err
	}
	if len(u.entry.journal.Uploaded) > 0 {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	u.entry.journal.UploadID = ""
	return errors.Join(err, u.entry.save())
}
