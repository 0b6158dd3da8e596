package store

import (
	"database/sql"
	"time"
)

// Stats is what the pools of connections do.
type Stats struct {
	Pools map[string]PoolStats `label:"pool"`
}

// PoolStats is one pool.
type PoolStats struct {
	Open, InUse, Max int
	Waits            uint64        `help:"Queries that waited for a connection"`
	Waited           time.Duration `help:"How long queries have waited for connections since the start"`
}

// Stats returns the pools as they are now: "reader" and "writer", which are
// one, "shared", on PostgreSQL.
func (db *DB) Stats() Stats {
	if db.w == db.r {
		return Stats{Pools: map[string]PoolStats{"shared": poolStats(db.w)}}
	}
	return Stats{Pools: map[string]PoolStats{"reader": poolStats(db.r), "writer": poolStats(db.w)}}
}

func poolStats(pool *sql.DB) PoolStats {
	s := pool.Stats()
	return PoolStats{
		Open: s.OpenConnections, InUse: s.InUse, Max: s.MaxOpenConnections,
		Waits: uint64(max(0, s.WaitCount)), Waited: s.WaitDuration,
	}
}
