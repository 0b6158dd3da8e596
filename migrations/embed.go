// Package migrations holds the database schema: one set of SQL files for
// SQLite and PostgreSQL.
//
// A file is one transaction. It must say nothing that only one of the engines
// knows, and it is never changed once released: add a new pair of files.
package migrations

import "embed"

// FS holds the migrations, named <version>_<concern>.<up|down>.sql.
//
//go:embed *.sql
var FS embed.FS
