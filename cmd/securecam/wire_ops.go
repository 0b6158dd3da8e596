package main

import (
	"context"
	"fmt"
	"time"

	"github.com/securecam/securecam/control"
	"github.com/securecam/securecam/control/admin"
	"github.com/securecam/securecam/control/audit"
	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/commands"
	"github.com/securecam/securecam/control/diagnosis"
	"github.com/securecam/securecam/control/docs"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/media"
	"github.com/securecam/securecam/control/metrics"
	"github.com/securecam/securecam/control/objects"
	"github.com/securecam/securecam/control/ops"
	"github.com/securecam/securecam/control/recordings"
	"github.com/securecam/securecam/control/revoke"
	"github.com/securecam/securecam/control/streams"
	"github.com/securecam/securecam/recorder"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/blob"
)

// counted are the parts above the planes that keep numbers. openOps fills in
// the second half.
type counted struct {
	gateway    *gateway.Gateway
	commands   *commands.Service
	streams    *streams.Service
	media      *media.Service
	recordings *recordings.Service
	notify     notifier
	identity   identity
	recorder   *recorder.Totals

	revocations *revoke.Service
	diagnosis   *diagnosis.Service
	files       *objects.Service // nil when others serve them
	meter       *metrics.Meter
}

// openOps makes what watches over the other features: revocations, numbers and
// health. It returns the features with those of its own.
func (a *app) openOps(
	ctx context.Context, c *Config, s state, p plane, accounts *auth.Service, parts *counted, features []control.Feature,
) ([]control.Feature, error) {
	holders := []revoke.Holder{parts.gateway.Revoked, func(store.Revocation) { parts.streams.Nudge() }}
	if p.turn != nil {
		holders = append(holders, relayRevoker{p.turn, seconds(c.MediaTokenTTLSeconds)}.revoked)
	}
	if s.signed != nil {
		parts.files = objects.New(signedFiles{s.signed}, accounts).Accept(signedFiles{s.signed}, s.db)
		features, holders = append(features, parts.files), append(holders, parts.files.Revoked)
	}
	parts.diagnosis = diagnosis.New(diagnosis.Config{
		Store: s.db, Media: diagnosedSFU{p.sfu}, Online: onlineWithin(seconds(c.DeviceOnlineStaleSeconds)), Logger: a.log,
	})
	features = append(features, parts.diagnosis)
	parts.revocations = revoke.New(revoke.Config{Store: s.db, Bus: s.bus, Holders: holders, Logger: a.log, Now: s.db.Now})
	if err := parts.revocations.Load(ctx); err != nil {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	s.db.OnRevocation(parts.revocations.Wake)
	parts.meter = metrics.New(metricSources(s, p, *parts)...)
	if c.AdminUsername != "" {
		features = append(features, openAdmin(c, s, parts, accounts, a.log))
	}
	pages, err := docs.New()
	if err != nil {
		return nil, err
	}
	return append(features, audit.New(s.db), pages, ops.New(ops.Config{Checks: []ops.Check{
		{Name: "database", Ping: s.db.Ping}, {Name: "objects", Ping: s.objects.Ping}, {Name: "bus", Ping: s.pingBus},
	}, Warnings: mediaWarnings(p.sfu), Metrics: parts.meter.Handler(), Logger: a.log})), nil
}

// metricSources lists the numbers at /ops/metrics. What a part counts it shows
// there by a line here: see package metrics.
func metricSources(s state, p plane, c counted) []metrics.Source {
	sources := []metrics.Source{
		{Name: "gateway", Snapshot: func() any { return c.gateway.Stats() }},
		{Name: "commands", Snapshot: func() any { return c.commands.Stats() }},
		{Name: "push", Snapshot: asked(c.notify.push.Stats)},
		{Name: "webhooks", Snapshot: asked(c.notify.webhooks.Stats)},
		{Name: "revocations", Snapshot: func() any { return c.revocations.Stats() }},
		{Name: "bus", Snapshot: func() any { return s.bus.Stats() }},
		{Name: "store", Snapshot: func() any { return s.db.Stats() }},
		{Name: "playback", Snapshot: func() any { return c.diagnosis.Stats() }},
		{Name: "media", Snapshot: func() any { return c.media.Stats() }},
		{Name: "sfu", Snapshot: func() any { return p.sfu.Stats() }},
		{Name: "recorder", Snapshot: func() any { return c.recorder.Stats() }},
	}
	if p.turn != nil {
		sources = append(sources, metrics.Source{Name: "turn", Snapshot: func() any { return p.turn.Stats() }})
	}
	if m, ok := s.minio(); ok {
		sources = append(sources, metrics.Source{Name: "objects", Snapshot: func() any { return m.Stats() }})
	}
	if c.files != nil {
		sources = append(sources, metrics.Source{Name: "downloads", Snapshot: func() any { return c.files.Stats() }})
	}
	return append(sources, c.identity.sources()...)
}

// openAdmin makes the operator's page and its API.
func openAdmin(c *Config, s state, parts *counted, accounts *auth.Service, log logger) *admin.Service {
	return admin.New(admin.Config{
		Username: c.AdminUsername, Password: c.AdminPassword, Attempts: parts.identity.tries,
		Store: s.db, Accounts: adminAccounts{accounts, s.db}, Streams: parts.streams, Pushes: parts.notify.push, Webhooks: parts.notify.webhooks,
		Commands: parts.commands, Recordings: parts.recordings, Objects: adminObjects{s.objects},
		Public: c.public(), Version: version(), OnlineStale: seconds(c.DeviceOnlineStaleSeconds), Logger: log, Now: s.db.Now,
	})
}

// adminAccounts is the accounts as the administrator sees them.
type adminAccounts struct {
	*auth.Service
	db *store.DB
}

func (a adminAccounts) DeleteUser(ctx context.Context, userID string, by store.Actor) error {
	return a.db.DeleteUser(ctx, userID, by)
}

// adminObjects is the object store as the administrator sees it.
type adminObjects struct{ blob.Store }

func (o adminObjects) List(ctx context.Context, folder, after string, limit int) ([]admin.Entry, error) {
	found, err := o.Store.List(ctx, folder, after, limit)
	entries := make([]admin.Entry, len(found))
	for i, e := range found {
		entries[i] = admin.Entry(e)
	}
	return entries, err
}

func (o adminObjects) Stat(ctx context.Context, key string) (admin.Object, error) {
	info, err := o.Store.Stat(ctx, key)
	return admin.Object(info), err
}

// What numbers cost that are read from the database: /ops/metrics has no rate
// limit, and counting a queue reads all of it.
const (
	snapshotTimeout = 2 * time.Second
	snapshotPeriod  = 5 * time.Second
)

// asked is a snapshot that the database is asked for, once in a while whoever
// scrapes; nothing during an outage.
func asked[T any](stats func(context.Context) (T, error)) func() any {
	return metrics.Kept(snapshotPeriod, time.Now, func() any {
		ctx, cancel := context.WithTimeout(context.Background(), snapshotTimeout)
		defer cancel()
		snapshot, err := stats(ctx)
		if err != nil {
			return nil
		}
		return snapshot
	})
}

// minio returns the object store if it is MinIO, also behind URLs of our own.
func (s state) minio() (*blob.MinIO, bool) {
	inner := s.objects
	if signed, ok := inner.(*blob.Signed); ok {
		inner = signed.Store
	}
	m, ok := inner.(*blob.MinIO)
	return m, ok
}
