package blobtest

import (
	"errors"
	"slices"
	"strings"

	"github.com/securecam/securecam/store/blob"
)

// list reads the same tree in pages of every length. Its names sort in another
// order with and without the slash of a folder.
func (t test) list() {
	s := t.New(t.T)()
	for _, k := range []string{"a/b/1.webm", "a/b/2.webm", "a/b-c/1.webm", "a/b0.webm", "a/c.webm", "d.webm"} {
		put(t, s, k, []byte(k))
	}
	for folder, want := range map[string][]string{
		"":      {"a/", "d.webm"},
		"a":     {"b-c/", "b/", "b0.webm", "c.webm"},
		"a/b":   {"1.webm", "2.webm"},
		"a/x":   {},
		"a/b/1": {},
	} {
		for limit := 1; limit <= len(want)+1; limit++ {
			got := t.pages(s, folder, limit)
			if !slices.Equal(got, want) {
				t.Errorf("%q by %d: got %v, want %v", folder, limit, got, want)
			}
		}
	}
	for _, folder := range []string{"..", "/", "a/../a", "a//b", "ä"} {
		if _, err := s.List(t.Context(), folder, "", 10); !errors.Is(err, blob.ErrBadKey) {
			t.Errorf("List(%q): %v", folder, err)
		}
	}
}

// pages lists a folder by pages of so many names, and a few names too many if
// the pages do not end.
func (t test) pages(s blob.Store, folder string, limit int) (names []string) {
	for after := ""; len(names) < 10; {
		page, err := s.List(t.Context(), folder, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return names
		}
		for _, e := range page {
			after = e.Name
			if !strings.HasSuffix(e.Name, "/") && (e.Size == 0 || e.ModTime.IsZero()) {
				t.Errorf("%s in %q has no size or time", e.Name, folder)
			}
			names = append(names, e.Name)
		}
	}
	return names
}
