package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// Entry is one name in a folder: an object, or a folder of more names.
type Entry struct {
	Name    string // ends with a slash for a folder
	Size    int64  // bytes; of an object
	ModTime time.Time
}

// maxEntries bounds one List.
const maxEntries = 1000

func limitEntries(limit int) int { return min(max(limit, 1), maxEntries) }

// checkFolder accepts "" and what could begin a key.
func checkFolder(folder string) error {
	if folder == "" {
		return nil
	}
	return checkKey(folder)
}

// List implements Store.
func (d *Disk) List(_ context.Context, folder, after string, limit int) ([]Entry, error) {
	if err := checkFolder(folder); err != nil {
		return nil, err
	}
	found, err := fs.ReadDir(d.root.FS(), path.Join(dataTree, folder))
	if err = diskError("list", folder, err); errors.Is(err, ErrNotFound) {
		return []Entry{}, nil
	}
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(found))
	for _, f := range found {
		name := f.Name()
		if f.IsDir() {
			name += "/"
		}
		if name > after {
			entries = append(entries, Entry{Name: name})
		}
	}
	sortEntries(entries)
	entries = entries[:min(len(entries), limitEntries(limit))]
	for i, e := range entries {
		if strings.HasSuffix(e.Name, "/") {
			continue
		}
		info, err := d.root.Stat(path.Join(dataTree, folder, e.Name))
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, diskError("list", folder, err)
		}
		entries[i].Size, entries[i].ModTime = info.Size(), info.ModTime().UTC()
	}
	return entries, nil
}

// List implements Store.
func (m *MinIO) List(ctx context.Context, folder, after string, limit int) ([]Entry, error) {
	if err := checkFolder(folder); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel() // ends the listing as well
	prefix := ""
	if folder != "" {
		prefix = folder + "/"
	}
	options := minio.ListObjectsOptions{Prefix: prefix, MaxKeys: limitEntries(limit)}
	if after != "" {
		// Everything below a folder comes before the character behind the slash.
		options.StartAfter = prefix + after
		if name, ok := strings.CutSuffix(after, "/"); ok {
			options.StartAfter = prefix + name + "0"
		}
	}
	entries := []Entry{}
	for o := range m.core.Client.ListObjects(ctx, m.bucket, options) {
		if o.Err != nil {
			return nil, fmt.Errorf("blob: list %s: %w", folder, o.Err)
		}
		entries = append(entries, Entry{
			Name: strings.TrimPrefix(o.Key, prefix), Size: o.Size, ModTime: o.LastModified.UTC(),
		})
		if len(entries) == options.MaxKeys { // one answer of the server, objects first
			break
		}
	}
	sortEntries(entries)
	return entries, nil
}

func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
}
