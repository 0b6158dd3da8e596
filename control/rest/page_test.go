package rest_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

func TestPagesShowEveryRowOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "rows")
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		rows := make([]store.Cursor, n) // newest first, several in a millisecond
		for i := range rows {
			rows[i] = store.Cursor{
				CreatedAt: time.UnixMilli(int64(1000 - i/3)).UTC(),
				ID:        strconv.Itoa(10_000 - i),
			}
		}
		var seen []string
		q := rest.PageQuery{Limit: limit}
		for {
			page, err := q.Page()
			if err != nil {
				t.Fatal(err)
			}
			from := 0
			if page.Before.ID != "" {
				from = slices.Index(rows, page.Before) + 1
			}
			found := rows[from:min(from+page.Limit, n)]
			list := rest.ListOf(q, found, func(c store.Cursor) string { return c.ID },
				func(c store.Cursor) store.Cursor { return c })
			if list.Items == nil || len(list.Items) > limit {
				t.Fatalf("got %d items of at most %d (nil: %v)", len(list.Items), limit, list.Items == nil)
			}
			seen = append(seen, list.Items...)
			if list.NextCursor == "" {
				break
			}
			q.Cursor = list.NextCursor
		}
		if len(seen) != n || len(slices.Compact(slices.Clone(seen))) != n {
			t.Fatalf("saw %v of %d rows", seen, n)
		}
	})
}

func TestForeignCursor(t *testing.T) {
	t.Parallel()
	for _, cursor := range []string{"x", "!!!", "MTIz", "MTIzIA"} {
		if _, err := (rest.PageQuery{Limit: 1, Cursor: cursor}).Page(); !errors.Is(err, rest.ErrBadCursor) {
			t.Errorf("%q: got %v", cursor, err)
		}
	}
}
