package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(dest ...any) error }

// one returns the row of a query that has at most one, or ErrNotFound.
func one[T any](ctx context.Context, q querier, scan func(row) (T, error), query string, args ...any) (T, error) {
	v, err := scan(q.QueryRowContext(ctx, query, args...))
	if err != nil {
		var zero T
		if err == sql.ErrNoRows { //nolint:errorlint // Scan returns it bare
			err = ErrNotFound
		}
		return zero, outage(ctx, err)
	}
	return v, nil
}

// all returns every row of a query.
func all[T any](ctx context.Context, q querier, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, outage(ctx, err)
	}
	defer rows.Close() //nolint:errcheck // Err below reports what matters
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, outage(ctx, rows.Err())
}

// scanText reads a single text column.
func scanText(r row) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// change runs a statement and returns how many rows it changed.
func change(ctx context.Context, q querier, query string, args ...any) (int64, error) {
	result, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// changeOne runs a statement that must change a row: ErrNotFound otherwise.
func changeOne(ctx context.Context, q querier, query string, args ...any) error {
	n, err := change(ctx, q, query, args...)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// conflictIf returns ErrConflict when the query has a row, else ErrNotFound:
// what a conditional change that changed nothing means.
func conflictIf(ctx context.Context, q querier, query string, args ...any) error {
	if _, err := one(ctx, q, scanText, query, args...); err != nil {
		return err
	}
	return ErrConflict
}

// insert adds a row with the given columns, a comma-separated list.
func insert(ctx context.Context, q querier, table, columns string, values ...any) error {
	var s strings.Builder
	fmt.Fprintf(&s, "INSERT INTO %s (%s) VALUES (", table, columns)
	for i := range values {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString("$" + strconv.Itoa(i+1))
	}
	s.WriteString(")")
	_, err := q.ExecContext(ctx, s.String(), values...)
	return err
}

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// filter is a WHERE clause in the making.
type filter struct {
	conditions []string
	args       []any
}

// and adds a condition, in which each ? stands for the next argument.
func (f *filter) and(condition string, args ...any) {
	for _, arg := range args {
		f.args = append(f.args, arg)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(f.args)), 1)
	}
	f.conditions = append(f.conditions, condition)
}

// visibleTo adds that the camera in a column of the table is the device
// itself, or has an active link with it; no device adds nothing.
func (f *filter) visibleTo(deviceID, table, column string) {
	if deviceID == "" {
		return
	}
	camera := table + "." + column
	f.and("("+camera+" = ? OR EXISTS (SELECT 1 FROM device_links l WHERE l.client_device_id = ? "+
		"AND l.camera_device_id = "+camera+" AND l.status = 'active'))", deviceID, deviceID)
}

// between adds that a time is at since or later, and before until; zero times
// add nothing.
func (f *filter) between(column string, since, until time.Time) {
	if !since.IsZero() {
		f.and(column+" >= ?", ms(since))
	}
	if !until.IsZero() {
		f.and(column+" < ?", ms(until))
	}
}

// page returns the clauses that select one page, newest first, and the
// arguments of the whole statement.
func (f *filter) page(p Page) (clauses string, args []any) {
	limit := p.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	before := int64(math.MaxInt64)
	if p.Before.ID != "" {
		before = p.Before.CreatedAt.UnixMilli()
	}
	f.and("(created_at, id) < (?, ?)", before, p.Before.ID)
	f.args = append(f.args, min(limit, maxLimit))
	return " WHERE " + strings.Join(f.conditions, " AND ") +
		" ORDER BY created_at DESC, id DESC LIMIT $" + strconv.Itoa(len(f.args)), f.args
}

// ms is a time as a column: unix milliseconds, NULL for the zero time.
func ms(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// timeColumn scans such a column.
type timeColumn struct{ t *time.Time }

func (c timeColumn) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*c.t = time.Time{}
	case int64:
		*c.t = time.UnixMilli(v).UTC()
	default:
		return fmt.Errorf("store: time column holds %T", v)
	}
	return nil
}

// text is an optional text as a column: NULL when empty.
func text[T ~string | ~[]byte](s T) any {
	if len(s) == 0 {
		return nil
	}
	return string(s)
}

// textColumn scans such a column.
type textColumn struct{ s *string }

func (c textColumn) Scan(v any) error {
	var s sql.NullString
	err := s.Scan(v)
	*c.s = s.String
	return err
}

// jsonColumn scans a JSON text, nil when NULL.
type jsonColumn struct{ raw *json.RawMessage }

func (c jsonColumn) Scan(v any) error {
	var s sql.NullString
	if err := s.Scan(v); err != nil {
		return err
	}
	*c.raw = nil
	if s.Valid {
		*c.raw = json.RawMessage(s.String)
	}
	return nil
}

// orElse returns t, or instead when t is zero.
func orElse(t, instead time.Time) time.Time {
	if t.IsZero() {
		return instead
	}
	return t
}
