package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"time"

	"github.com/securecam/securecam/control/cluster"
	"github.com/securecam/securecam/control/events"
	"github.com/securecam/securecam/control/objects"
	"github.com/securecam/securecam/control/recordings"
	"github.com/securecam/securecam/control/videos"
	"github.com/securecam/securecam/store/blob"
)

var (
	_ cluster.Objects    = markedObjects{}
	_ events.Objects     = thumbnails{}
	_ recordings.Objects = recordedObjects{}
	_ videos.Objects     = videoObjects{}
	_ objects.Uploads    = signedFiles{}
)

// recordedObjects is the object store as the recordings' owner sees it.
type recordedObjects struct{ blob.Store }

func (o recordedObjects) Stat(ctx context.Context, key string) (recordings.ObjectInfo, error) {
	info, err := o.Store.Stat(ctx, key)
	return recordings.ObjectInfo(info), err
}

func (o recordedObjects) SignGet(ctx context.Context, key string, so recordings.SignOptions) (string, time.Time, error) {
	return o.Store.SignGet(ctx, key, blob.SignOptions(so))
}

func (o recordedObjects) SignPut(ctx context.Context, key string, po recordings.PutOptions) (recordings.SignedPut, error) {
	signed, err := o.Store.SignPut(ctx, key, blob.PutOptions(po))
	return recordings.SignedPut(signed), err
}

func (o recordedObjects) Put(ctx context.Context, key, contentType string, data []byte) error {
	return put(ctx, o.Store, key, contentType, data)
}

// put makes an object in one go.
func put(ctx context.Context, s blob.Store, key, contentType string, data []byte) error {
	w, err := s.Create(ctx, key, contentType)
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(data).WriteTo(w)
	if err == nil {
		err = w.Commit(ctx)
	}
	if err != nil {
		return errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
	}
	return nil
}

// markedObjects is the object store as those see it who ask which one it is.
type markedObjects struct{ blob.Store }

const maxMark = 1 << 10 // bytes

func (o markedObjects) Get(ctx context.Context, key string) ([]byte, error) {
	r, err := o.Open(ctx, key, 0, maxMark)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func (o markedObjects) Put(ctx context.Context, key, contentType string, data []byte) error {
	return put(ctx, o.Store, key, contentType, data)
}

// thumbnails is the object store as the owner of small pictures sees it.
type thumbnails struct{ blob.Store }

func (o thumbnails) Put(ctx context.Context, key, contentType string, data []byte) error {
	return put(ctx, o.Store, key, contentType, data)
}

func (o thumbnails) SignGet(ctx context.Context, key string, ttl time.Duration, grant string) (string, time.Time, error) {
	return o.Store.SignGet(ctx, key, blob.SignOptions{TTL: ttl, Grant: grant})
}

// videoObjects is the object store as the videos' owner sees it.
type videoObjects struct{ blob.Store }

func (o videoObjects) Stat(ctx context.Context, key string) (videos.ObjectInfo, error) {
	info, err := o.Store.Stat(ctx, key)
	return videos.ObjectInfo(info), err
}

func (o videoObjects) SignGet(ctx context.Context, key string, g videos.GetOptions) (string, time.Time, error) {
	return o.Store.SignGet(ctx, key, blob.SignOptions(g))
}

func (o videoObjects) SignPut(ctx context.Context, key string, p videos.PutOptions) (videos.SignedPut, error) {
	signed, err := o.Store.SignPut(ctx, key, blob.PutOptions(p))
	return videos.SignedPut(signed), err
}

// signedFiles is the object store as those see it who have a signed URL.
type signedFiles struct{ signedStore }

func (f signedFiles) Stat(ctx context.Context, key string) (objects.Info, error) {
	info, err := f.signedStore.Stat(ctx, key)
	return objects.Info(info), err
}

func (f signedFiles) Verify(method, key string, query url.Values) (objects.Signed, error) {
	o, err := f.signedStore.Verify(method, key, query)
	return objects.Signed{Filename: o.Filename, Grant: o.Grant}, err
}

func (f signedFiles) VerifyPut(key string, query url.Values) (objects.SignedUpload, error) {
	o, err := f.signedStore.VerifyPut(key, query)
	return objects.SignedUpload{ContentType: o.ContentType, Size: o.Size, Grant: o.Grant}, err
}

func (f signedFiles) Create(ctx context.Context, key, contentType string) (objects.Upload, error) {
	return f.signedStore.Create(ctx, key, contentType)
}

func (f signedFiles) Resume(ctx context.Context, key string) (objects.Upload, error) {
	return f.signedStore.Resume(ctx, key)
}
