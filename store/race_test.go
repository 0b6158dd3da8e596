//go:build race

package store_test

import (
	"flag"
	"testing"
)

// TestMain has the models take a quarter of the walks, unless -rapid.checks says
// otherwise: SQLite, which is Go, is ten times slower with the race detector,
// which has nothing to find where one goroutine walks.
func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "25") // rapid has that flag
	m.Run()
}
