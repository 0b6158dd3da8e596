package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/securecam/securecam/migrations"
)

// Migrate brings the schema up to date. Several processes may call it at
// once. A file that fails leaves the schema as it was before that file, and
// the next Migrate tries it again.
func (db *DB) Migrate(ctx context.Context) error {
	return db.migrate(ctx, migrations.FS)
}

// SchemaReady returns an error that says what to do unless the schema is the
// one that this program was built with.
func (db *DB) SchemaReady(ctx context.Context) error {
	want, err := newest(migrations.FS)
	if err != nil {
		return err
	}
	var version uint
	var dirty bool
	err = db.r.QueryRowContext(ctx, `SELECT version, dirty FROM schema_migrations`).Scan(&version, &dirty)
	if ping := db.Ping(ctx); ping != nil {
		return ping
	}
	switch {
	case err != nil:
		return errors.New("store: the database has no schema yet: migrate it")
	case dirty || version < want:
		return fmt.Errorf("store: the schema is at version %d, this program needs %d: migrate it", version, want)
	case version > want:
		return newerSchemaError(version, want)
	}
	return nil
}

func newerSchemaError(version, want uint) error {
	return fmt.Errorf("store: the schema is at version %d, this program knows up to %d: run a newer one", version, want)
}

// migrate applies the files of dir that are missing.
func (db *DB) migrate(ctx context.Context, dir fs.FS) (err error) {
	want, err := newest(dir)
	if err != nil {
		return err
	}
	unlock, err := db.dialect.lockSchema(ctx)
	if err != nil {
		return fmt.Errorf("store: lock schema: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()

	m, src, err := db.migrator(dir)
	if err != nil {
		return err
	}
	defer func() {
		sourceErr, databaseErr := m.Close()
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	if err := clearDirty(m, src); err != nil {
		return err
	}
	version, _, err := m.Version()
	switch {
	case errors.Is(err, migrate.ErrNilVersion):
	case err != nil:
		return fmt.Errorf("store: schema version: %w", err)
	case version > want:
		return newerSchemaError(version, want)
	}
	if version == want {
		return nil
	}
	if err := climb(ctx, m, version, want); err != nil {
		return errors.Join(err, clearDirty(m, src))
	}
	db.log.Info("schema migrated", slog.Uint64("from", uint64(version)), slog.Uint64("to", uint64(want)))
	return nil
}

// climb applies one file after the other, as long as ctx is not done: two
// goroutines of the library write and read what its own way to stop sets.
func climb(ctx context.Context, m *migrate.Migrate, at, want uint) error {
	for at < want {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := m.Steps(1)
		if err == nil {
			at, _, err = m.Version()
		}
		if err != nil {
			return fmt.Errorf("store: migrate: %w", err)
		}
	}
	return nil
}

func (db *DB) migrator(dir fs.FS) (*migrate.Migrate, source.Driver, error) {
	src, err := iofs.New(dir, ".")
	if err != nil {
		return nil, nil, fmt.Errorf("store: migrations: %w", err)
	}
	driver, err := db.dialect.migrator()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("store: migrate: %w", err), src.Close())
	}
	m, err := migrate.NewWithInstance("iofs", src, "", atomicDriver{driver})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("store: migrate: %w", err), src.Close(), driver.Close())
	}
	return m, src, nil
}

// atomicDriver clears the dirty flag in the very transaction that runs a
// file. So a flag that is set means that its file did not happen, wherever the
// process died, and may be cleared.
type atomicDriver struct{ database.Driver }

func (d atomicDriver) Run(file io.Reader) error {
	return d.Driver.Run(io.MultiReader(file, strings.NewReader("\n;UPDATE schema_migrations SET dirty = FALSE;")))
}

// clearDirty takes back the version of a file that did not happen.
func clearDirty(m *migrate.Migrate, src source.Driver) error {
	version, dirty, err := m.Version()
	if errors.Is(err, migrate.ErrNilVersion) || err == nil && !dirty {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: schema version: %w", err)
	}
	before := database.NilVersion
	switch prev, err := src.Prev(version); {
	case err == nil:
		before = int(prev)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store: migrations: %w", err)
	}
	if err := m.Force(before); err != nil {
		return fmt.Errorf("store: clear failed migration: %w", err)
	}
	return nil
}

// newest returns the version of the last file of dir.
func newest(dir fs.FS) (version uint, err error) {
	src, err := iofs.New(dir, ".")
	if err != nil {
		return 0, fmt.Errorf("store: migrations: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	version, err = src.First()
	for err == nil {
		var next uint
		if next, err = src.Next(version); err == nil {
			version = next
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("store: migrations: %w", err)
	}
	return version, nil
}
