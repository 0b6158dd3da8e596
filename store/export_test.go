package store

import (
	"context"
	"errors"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// MigrateFS is Migrate with other files.
func (db *DB) MigrateFS(ctx context.Context, dir fs.FS) error { return db.migrate(ctx, dir) }

// MigrateDown takes every migration back.
func (db *DB) MigrateDown(dir fs.FS) error {
	m, _, err := db.migrator(dir)
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // Down reports what matters
	return m.Down()
}

// Exec runs a statement as it is.
func (db *DB) Exec(ctx context.Context, statement string) error {
	_, err := db.w.ExecContext(ctx, statement)
	return err
}

// InTx runs the statements in one transaction, with between called in between.
func (db *DB) InTx(ctx context.Context, first, last string, between func()) error {
	return db.inTx(ctx, func(tx *txn) error {
		if _, err := tx.ExecContext(ctx, first); err != nil {
			return err
		}
		between()
		_, err := tx.ExecContext(ctx, last)
		return err
	})
}

// Count returns the single number that a query answers.
func (db *DB) Count(ctx context.Context, query string, args ...any) (n int, err error) {
	err = db.r.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// MigrateKilled is MigrateFS in a process that dies right after a file, before
// it says so.
func (db *DB) MigrateKilled(dir fs.FS) error {
	src, err := iofs.New(dir, ".")
	if err != nil {
		return err
	}
	driver, err := db.dialect.migrator()
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("iofs", src, "", dyingDriver{atomicDriver{driver}})
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // Up reports what matters
	return m.Up()
}

type dyingDriver struct{ database.Driver }

func (d dyingDriver) SetVersion(version int, dirty bool) error {
	if !dirty {
		return errors.New("killed")
	}
	return d.Driver.SetVersion(version, dirty)
}
