package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// The trees below a Disk's folder. Objects move from partial to data when
// they are committed; types holds their content types under the same names.
const (
	dataTree    = "data"
	partialTree = "partial"
	typesTree   = "types"

	defaultContentType = "application/octet-stream"
)

// DiskConfig configures a Disk.
type DiskConfig struct {
	Dir    string           // made when absent
	Secret []byte           // signs URLs, at least 16 bytes
	Base   string           // what signed URLs begin with, "/objects/" when empty
	Now    func() time.Time // the clock of signed URLs, time.Now when nil
}

// Disk keeps objects as files. os.Root keeps every access inside its folder,
// whatever the key and whatever symbolic links lie there.
type Disk struct {
	root   *os.Root
	signer urlSigner
	claims claims
}

var _ Store = (*Disk)(nil)

// OpenDisk opens the folder c.Dir.
func OpenDisk(c DiskConfig) (*Disk, error) {
	signer, err := newURLSigner(c.Secret, c.Base, c.Now)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return &Disk{root: root, signer: signer}, nil
}

// Create implements Store.
func (d *Disk) Create(_ context.Context, key, contentType string) (Writer, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if !d.claims.take(key) {
		return nil, ErrExists
	}
	w, err := d.create(key, contentType)
	if err != nil {
		d.claims.drop(key)
		return nil, err
	}
	return w, nil
}

func (d *Disk) create(key, contentType string) (*diskWriter, error) {
	name := path.Join(partialTree, key)
	for _, dir := range []string{name, path.Join(typesTree, key)} {
		if err := d.root.MkdirAll(path.Dir(dir), 0o700); err != nil {
			return nil, fmt.Errorf("blob: create %s: %w", key, err)
		}
	}
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrExists
	}
	if err != nil {
		return nil, fmt.Errorf("blob: create %s: %w", key, err)
	}
	// Only the owner of the partial file can make the object, so that nothing
	// can come between this look and the rename in Commit.
	_, err = d.root.Lstat(path.Join(dataTree, key))
	switch {
	case err == nil:
		err = ErrExists
	case errors.Is(err, fs.ErrNotExist):
		err = d.root.WriteFile(path.Join(typesTree, key), []byte(contentType), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), d.root.Remove(name))
	}
	return &diskWriter{disk: d, key: key, file: f}, nil
}

// Resume implements Store.
func (d *Disk) Resume(_ context.Context, key string) (Writer, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if !d.claims.take(key) {
		return nil, ErrBusy
	}
	f, err := d.root.OpenFile(path.Join(partialTree, key), os.O_RDWR, 0)
	if err != nil {
		d.claims.drop(key)
		return nil, diskError("resume", key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		d.claims.drop(key)
		return nil, errors.Join(diskError("resume", key, err), f.Close())
	}
	// Where the last Write began is not known, so Truncate may go anywhere.
	return &diskWriter{disk: d, key: key, file: f, size: info.Size()}, nil
}

// Stat implements Store.
func (d *Disk) Stat(_ context.Context, key string) (Info, error) {
	if err := checkKey(key); err != nil {
		return Info{}, err
	}
	info, err := d.root.Stat(path.Join(dataTree, key))
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Info{}, diskError("stat", key, err)
	}
	contentType, err := d.root.ReadFile(path.Join(typesTree, key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Info{}, diskError("stat", key, err)
	}
	if len(contentType) == 0 {
		contentType = []byte(defaultContentType)
	}
	return Info{Key: key, Size: info.Size(), ContentType: string(contentType), ModTime: info.ModTime().UTC()}, nil
}

// Open implements Store.
func (d *Disk) Open(_ context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	f, err := d.root.Open(path.Join(dataTree, key))
	if err != nil {
		return nil, diskError("open", key, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fs.ErrNotExist
	case off < 0 || off > info.Size():
		err = ErrRange
	}
	if err != nil {
		return nil, errors.Join(diskError("open", key, err), f.Close())
	}
	rest := info.Size() - off
	if n < 0 || n > rest {
		n = rest
	}
	return diskReader{io.NewSectionReader(f, off, n), f}, nil
}

type diskReader struct {
	io.Reader
	io.Closer
}

// Delete implements Store.
func (d *Disk) Delete(_ context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if !d.claims.take(key) {
		return ErrBusy
	}
	defer d.claims.drop(key)
	// The content type goes last: without it the object would still be served.
	for _, tree := range []string{dataTree, partialTree, typesTree} {
		err := d.root.Remove(path.Join(tree, key))
		if err = diskError("delete", key, err); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// Ping implements Store.
func (d *Disk) Ping(context.Context) error {
	if _, err := d.root.Stat("."); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	return nil
}

// Close implements Store.
func (d *Disk) Close() error {
	return d.root.Close()
}

// syncTree makes the names of a file and of the folders above it durable.
func (d *Disk) syncTree(name string) error {
	for {
		name = path.Dir(name)
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
	}
}

// diskError turns a file error into one of this package's.
func diskError(op, key string, err error) error {
	if err == nil || errors.Is(err, ErrRange) {
		return err
	}
	// A key that runs through another object's file ends at "not a directory".
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return ErrNotFound
	}
	return fmt.Errorf("blob: %s %s: %w", op, key, err)
}
