package rest

import (
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// PageQuery is the query of every list; embed it in the operation's input.
type PageQuery struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most so many items"`
	Cursor string `query:"cursor" maxLength:"128" doc:"nextCursor of the page before"`
}

// ErrBadCursor reports a cursor that no list handed out.
var ErrBadCursor = fault.New(fault.Unprocessable, "invalid_cursor", "That cursor is not from this list.")

// Page returns the rows to ask the store for: one more than the client wants,
// so that ListOf can tell whether there are more.
func (q PageQuery) Page() (store.Page, error) {
	cursor, err := store.ParseCursor(q.Cursor)
	if err != nil {
		return store.Page{}, ErrBadCursor.With(err)
	}
	return store.Page{Limit: q.Limit + 1, Before: cursor}, nil
}

// List is the answer of every list, newest first.
type List[T any] struct {
	Items      []T    `json:"items" nullable:"false"`
	NextCursor string `json:"nextCursor,omitempty" doc:"Asks for the next page; left out at the end"`
}

// ListOf makes the page that q asked for from the rows that its Page found.
// item writes a row out and cursor tells its place in the list.
func ListOf[R, T any](q PageQuery, rows []R, item func(R) T, cursor func(R) store.Cursor) List[T] {
	var next string
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		next = cursor(rows[len(rows)-1]).String()
	}
	items := make([]T, len(rows))
	for i, row := range rows {
		items[i] = item(row)
	}
	return List[T]{Items: items, NextCursor: next}
}
