package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// TestPages walks a list in which many rows have the same time.
func TestPages(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		at := storetest.Now()
		const rows = 25
		for i := range rows {
			c := w.command()
			c.CreatedAt = at.Add(time.Duration(i/10) * time.Millisecond)
			wantErr(t, db.CreateCommand(t.Context(), c, w.by), nil)
		}
		for _, limit := range []int{1, 7, 10, rows} {
			var p store.Page
			p.Limit = limit
			seen := map[string]bool{}
			last := at.Add(time.Hour)
			for {
				list, err := db.Commands(t.Context(), w.user.ID, store.CommandFilter{}, p)
				wantErr(t, err, nil)
				if len(list) == 0 {
					break
				}
				if len(list) > limit {
					t.Fatalf("got %d rows, want at most %d", len(list), limit)
				}
				for _, c := range list {
					if seen[c.ID] || c.CreatedAt.After(last) {
						t.Fatalf("limit %d: row %s is twice there or out of order", limit, c.ID)
					}
					seen[c.ID], last = true, c.CreatedAt
				}
				end := list[len(list)-1]
				// Through its text, as a client sends it back.
				if p.Before, err = store.ParseCursor(store.Cursor{CreatedAt: end.CreatedAt, ID: end.ID}.String()); err != nil {
					t.Fatal(err)
				}
			}
			want(t, "rows seen", len(seen), rows)
		}
	})
}

func TestParseCursorRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"!", "MTIz", "IGlk", "eCBpZA", "MSA", string(make([]byte, 200))} {
		if c, err := store.ParseCursor(s); err == nil {
			t.Errorf("ParseCursor(%q) = %+v, want an error", s, c)
		}
	}
	if c, err := store.ParseCursor(""); err != nil || c != (store.Cursor{}) || c.String() != "" {
		t.Errorf("the empty cursor is not the beginning: %+v, %v", c, err)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add("MSBpZA")
	f.Add(store.Cursor{CreatedAt: time.UnixMilli(1764000000000), ID: "0199"}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := store.ParseCursor(s)
		if err != nil {
			return
		}
		again, err := store.ParseCursor(c.String())
		if err != nil || again != c {
			t.Errorf("ParseCursor(%q) = %+v, whose text reads as %+v, %v", s, c, again, err)
		}
	})
}
