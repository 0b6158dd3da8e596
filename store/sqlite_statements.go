package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// maxStatements bounds what one SQLite connection keeps prepared; it is more than there are texts in this package.
const maxStatements = 256

// openSQLite opens a pool whose connections keep their statements prepared: the driver would parse each text again,
// which costs more than most of them do.
func openSQLite(dsn string) (*sql.DB, error) {
	plain, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	connector := sqliteConnector{driver: plain.Driver(), dsn: dsn}
	return sql.OpenDB(connector), plain.Close() // which has opened nothing yet
}

type sqliteConnector struct {
	driver driver.Driver
	dsn    string
}

func (c sqliteConnector) Driver() driver.Driver { return c.driver }

func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) {
	opened, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	conn, ok := opened.(fullConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("store: the SQLite driver's %T lacks what is asked of it", opened), opened.Close())
	}
	return &preparedConn{fullConn: conn, statements: make(map[string]*statement)}, nil
}

// fullConn is what database/sql asks of a connection.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// fullStmt is what database/sql asks of a statement.
type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// statement is a prepared statement. One whose rows are still read is busy.
type statement struct {
	fullStmt
	busy bool
}

// preparedConn is a connection that prepares each text once. Like any connection it has one user at a time.
type preparedConn struct {
	fullConn
	statements map[string]*statement
}

// prepared returns the statement of a text, or nil when it is busy.
func (c *preparedConn) prepared(ctx context.Context, query string) (*statement, error) {
	if s, ok := c.statements[query]; ok {
		if s.busy {
			return nil, nil //nolint:nilnil // as documented
		}
		return s, nil
	}
	made, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	full, ok := made.(fullStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("store: the SQLite driver's %T lacks what is asked of it", made), made.Close())
	}
	if len(c.statements) >= maxStatements {
		if err := c.forget(); err != nil {
			return nil, errors.Join(err, made.Close())
		}
	}
	s := &statement{fullStmt: full}
	c.statements[query] = s
	return s, nil
}

// forget closes the statements that are not busy.
func (c *preparedConn) forget() error {
	var failed error
	for query, s := range c.statements {
		if !s.busy {
			failed = errors.Join(failed, s.Close())
			delete(c.statements, query)
		}
	}
	return failed
}

// drop closes a statement that failed: what state it is in is the driver's secret.
func (c *preparedConn) drop(query string, s *statement, why error) error {
	delete(c.statements, query)
	_ = s.Close() // says why again
	return why
}

// ExecContext implements driver.ExecerContext.
func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.fullConn.ExecContext(ctx, query, args)
	}
	result, err := s.ExecContext(ctx, args)
	if err != nil {
		return nil, c.drop(query, s, err)
	}
	return result, nil
}

// QueryContext implements driver.QueryerContext.
func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.fullConn.QueryContext(ctx, query, args)
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, c.drop(query, s, err)
	}
	s.busy = true
	return &preparedRows{Rows: rows, conn: c, query: query, statement: s}, nil
}

// Close implements driver.Conn.
func (c *preparedConn) Close() error {
	return errors.Join(c.forget(), c.fullConn.Close())
}

// preparedRows gives its statement back when it is closed.
type preparedRows struct {
	driver.Rows
	conn      *preparedConn
	query     string
	statement *statement
	failed    bool
}

// Next implements driver.Rows.
func (r *preparedRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	r.failed = r.failed || err != nil && !errors.Is(err, io.EOF)
	return err
}

// Close implements driver.Rows.
func (r *preparedRows) Close() error {
	err := r.Rows.Close()
	r.statement.busy = false
	if err != nil || r.failed {
		return r.conn.drop(r.query, r.statement, err)
	}
	return nil
}
