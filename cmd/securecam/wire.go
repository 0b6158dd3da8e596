package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/securecam/securecam/control"
	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/cluster"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/media"
	"github.com/securecam/securecam/control/recordings"
	"github.com/securecam/securecam/control/streams"
	"github.com/securecam/securecam/recorder"
	"github.com/securecam/securecam/sfu"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/blob"
	"github.com/securecam/securecam/turn"
	"github.com/securecam/securecam/web"
)

// What the planes ask of each other is what they have.
var (
	_ sfu.Sink             = (*recorder.TrackWriter)(nil)
	_ sfu.SenderReportSink = (*recorder.TrackWriter)(nil)
	_ sfu.Observer         = (*mediaEvents)(nil)
	_ recorder.Objects     = recordingObjects{}
	_ media.SFU            = whipSFU{}
	_ streams.Provider     = streamMedia{}
	_ recordings.Recorder  = tapRecorder{}
)

// state is what survives a restart, and the bus.
type state struct {
	db      *store.DB
	objects blob.Store
	signed  signedStore // objects again, or nil when their URLs lead to MinIO itself
	bus     *bus.Bus
}

func (s state) pingBus(context.Context) error {
	if !s.bus.Stats().Connected {
		return errors.New("not connected")
	}
	return nil
}

// plane is the media plane.
type plane struct {
	sfu  *sfu.SFU
	turn *turn.Server // nil when switched off
}

// start opens everything from the bottom up and listens. When a part fails,
// what was opened before it is closed again.
func start(ctx context.Context, c *Config, log logger) (a *app, err error) {
	a = &app{log: log, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			if stopErr := a.stop(); stopErr != nil {
				log.Warn("stop after a failed start", slog.Any("err", stopErr))
			}
		}
	}()
	if err := makeDataDir(c); err != nil {
		return a, err
	}
	release, err := lockDataDir(c.DataDir)
	if err != nil {
		return a, err
	}
	a.onStop("data folder", stopPart, func(context.Context) error { return release() })
	keys, err := loadSecrets(c.DataDir, c.BetterAuthSecret)
	if err != nil {
		return a, err
	}
	s, err := a.openState(ctx, c, keys)
	if err != nil {
		return a, err
	}
	events := &mediaEvents{}
	p, err := a.openPlane(c, keys, events, s.db.Now)
	if err != nil {
		return a, err
	}
	server, err := a.openControl(ctx, c, keys, s, p, events)
	if err != nil {
		return a, err
	}
	a.routes = server.Routes()
	return a, a.listen(ctx, c, server)
}

func makeDataDir(c *Config) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("DATA_DIR: %w", err)
	}
	return nil
}

func (a *app) openState(ctx context.Context, c *Config, keys secrets) (state, error) {
	db, err := openStore(ctx, c, a.log)
	if err != nil {
		return state{}, err
	}
	a.onStop("store", stopPart, func(context.Context) error { return db.Close() })
	if err := prepareSchema(ctx, c, db); err != nil {
		return state{}, err
	}
	if err := db.SetClock(ctx); err != nil {
		return state{}, err
	}
	a.run("clock", db.RunClock)
	s := state{db: db}
	if s.objects, s.signed, err = openObjects(ctx, c, keys, db.Now, a.log); err != nil {
		return state{}, fmt.Errorf("open the object store: %w", err)
	}
	a.onStop("objects", stopPart, func(context.Context) error { return s.objects.Close() })
	s.bus, err = bus.Open(ctx, bus.Config{
		URL: c.NATSURL, StoreDir: filepath.Join(c.DataDir, "bus"), Cluster: c.cluster(keys), Logger: a.log,
	})
	if err != nil {
		return state{}, fmt.Errorf("open the NATS bus (NATS_URL, CLUSTER_ROUTES): %w", err)
	}
	a.onStop("bus", stopPart, s.bus.Close)
	if _, err := s.bus.Announce(keys.nodeID, strings.TrimRight(c.NodeURL, "/")); err != nil { // it ends with the bus
		return state{}, fmt.Errorf("announce this node: %w", err)
	}
	return s, a.joinOthers(ctx, c, keys, s)
}

// joinOthers meets the processes on the bus, if there can be any.
func (a *app) joinOthers(ctx context.Context, c *Config, keys secrets, s state) error {
	if c.NATSURL == "" && len(c.ClusterRoutes) == 0 {
		return nil
	}
	database, err := s.db.InstallationID(ctx)
	if err != nil {
		return fmt.Errorf("name the database: %w", err)
	}
	others := cluster.New(cluster.Config{
		Bus: s.bus, Objects: markedObjects{s.objects}, Node: keys.nodeID, Database: database,
		Secret: hex.EncodeToString(keys.derive("cluster membership")), Private: c.NATSURL == "", Logger: a.log,
	})
	if err := others.Join(ctx); err != nil {
		return fmt.Errorf("join the other processes: %w", err)
	}
	a.run("other processes", others.Run)
	return nil
}

// signedStore is a store whose signed URLs are this server's.
type signedStore interface {
	blob.Store
	Verify(method, key string, query url.Values) (blob.SignOptions, error)
	VerifyPut(key string, query url.Values) (blob.PutOptions, error)
}

func openObjects(
	ctx context.Context, c *Config, keys secrets, now func() time.Time, log logger,
) (blob.Store, signedStore, error) {
	secret := keys.derive("object URLs")
	if c.MinIOEndpoint == "" {
		disk, err := blob.OpenDisk(blob.DiskConfig{Dir: filepath.Join(c.DataDir, "objects"), Secret: secret, Now: now})
		return disk, disk, err
	}
	m, err := blob.OpenMinIO(ctx, blob.MinIOConfig{
		Endpoint:       net.JoinHostPort(c.MinIOEndpoint, strconv.Itoa(c.MinIOPort)),
		Secure:         c.MinIOUseSSL,
		PublicEndpoint: c.MinIOPublicURL,
		AccessKey:      c.MinIOAccessKey,
		SecretKey:      c.MinIOSecretKey,
		Bucket:         c.MinIOBucket,
		SpoolDir:       filepath.Join(c.DataDir, "spool"),
		Logger:         log,
	})
	if err != nil || c.MinIOPublicURL != "" {
		return m, nil, err
	}
	signed, err := blob.NewSigned(m, secret, now)
	return signed, signed, err
}

func (a *app) openPlane(c *Config, keys secrets, events *mediaEvents, now func() time.Time) (plane, error) {
	ips, err := c.publicIPs()
	if err != nil {
		return plane{}, err
	}
	var p plane
	p.sfu, err = sfu.New(sfu.Config{
		UDPAddr:   net.JoinHostPort(c.ListenHost, strconv.Itoa(c.MediaUDPPort)),
		TCPAddr:   c.mediaTCPAddr(),
		PublicIPs: ips,
		Logger:    a.log,
		Observer:  events,
		ReadWish:  readWish,

		STUNServers: c.STUNURLs, Lite: c.ICELite, ConsentTimeout: seconds(c.ConsentTimeoutSeconds),
		MaxMediaSessions: c.MaxMediaSessions,
		MaxViewers:       c.MaxViewers, MaxViewerSessions: c.MaxViewerSessions, BurstWindow: c.burstWindow(), NoOffload: !c.UDPOffload,
	})
	if err != nil {
		return plane{}, fmt.Errorf("open the media port: %w", err)
	}
	// The SFU goes first, so that its goodbyes still pass through TURN.
	a.onStop("media plane", 2*stopPart, func(ctx context.Context) error {
		err := p.sfu.Shutdown(ctx)
		if p.turn != nil {
			err = errors.Join(err, p.turn.Close())
		}
		return err
	})
	if c.TURNPort < 0 {
		return p, nil
	}
	p.turn, err = a.openTURN(c, keys, p.sfu, ips, now)
	if err != nil {
		return plane{}, fmt.Errorf("open the TURN port: %w", err)
	}
	return p, nil
}

// openTURN starts the TURN server. Where devices send media to each other, its
// relays lead to each other and where the operator says, and not to the SFU,
// which has none of it.
func (a *app) openTURN(c *Config, keys secrets, media *sfu.SFU, ips []netip.Addr, now func() time.Time) (*turn.Server, error) {
	config := turn.Config{
		Addr:         net.JoinHostPort(c.ListenHost, strconv.Itoa(c.TURNPort)),
		PublicIPs:    ips,
		Secret:       keys.derive("TURN credentials"),
		RelayPortMin: c.TURNRelayPortMin,
		RelayPortMax: c.TURNRelayPortMax,
		AllowPeers:   media.Addrs,
		Now:          now,
		Logger:       a.log,
	}
	if c.mediaProvider() == streams.ProviderP2P {
		reachable, err := networks("TURN_PEER_NETWORKS", c.TURNPeerNetworks)
		if err != nil {
			return nil, err
		}
		config.AllowPeers, config.SeenAt = nil, media.Addrs
		config.AllowPublic, config.AllowNetworks = c.TURNPublicPeers, reachable
	}
	return turn.New(config)
}

// openControl makes the features and joins them; it is the table of contents
// of the control plane.
func (a *app) openControl(
	ctx context.Context, c *Config, keys secrets, s state, p plane, events *mediaEvents,
) (*control.Server, error) {
	proxies, err := c.trustedProxies()
	if err != nil {
		return nil, err
	}
	people, err := c.openIdentity(keys, s, a.log)
	if err != nil {
		return nil, err
	}
	accounts := people.accounts
	gate := gateway.New(gateway.Config{
		Auth: accounts, Presence: s.db, Events: s.db, Bus: s.bus, Logger: a.log, Now: s.db.Now,
		MaxConns: c.GatewayConnections, MessagesPerSecond: orAny(c.GatewayMessagesPerSecond),
	})
	told, err := a.openAlerts(c, keys, s, gate)
	if err != nil {
		return nil, err
	}
	watched, err := a.openCameras(c, keys, s, p, gate, accounts, told.notifier)
	if err != nil {
		return nil, err
	}
	events.streams, events.recordings = watched.streams, watched.recordings

	features := append([]control.Feature{accounts, gate}, watched.features()...)
	features = append(features, told.events, told.videos, told.push, told.webhooks)
	parts := counted{
		gateway: gate, commands: watched.commands, recorder: watched.recorded, streams: watched.streams, media: watched.media,
		notify: told.notifier, identity: people, recordings: watched.recordings,
	}
	features, err = a.openOps(ctx, c, s, p, accounts, &parts, features)
	if err != nil {
		return nil, err
	}
	server, err := control.New(control.Config{
		Auth: accounts, Features: features, Static: web.FS, Version: version(), TrustedOrigins: c.BetterAuthTrustedOrigins,
		TrustedProxies: proxies, ObjectOrigin: strings.TrimRight(c.MinIOPublicURL, "/"), SignUpClosed: !c.SignUp,
		Limiter: people.requests, Rates: people.rates, Observe: parts.meter.Observe, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}

	people.run(a)
	a.run("revocations", parts.revocations.Run)
	watched.run(a)
	told.run(a)
	a.run("losses", func(ctx context.Context) error {
		return reportLosses(ctx, a.log, append(losses(p, s, gate, watched.media), people.losses()...))
	})
	a.stopControl(server, gate, watched.recordings)
	if err := watched.recordings.Recover(ctx); err != nil {
		return nil, fmt.Errorf("recover recordings: %w", err)
	}
	return server, nil
}

// stopControl registers how what faces clients stops, the last line first:
// nobody who does not read may keep recordings from being finished.
func (a *app) stopControl(server *control.Server, gate *gateway.Gateway, recorded *recordings.Service) {
	a.onStop("requests", stopRequests, func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		a.serving.Wait()
		if errors.Is(err, context.DeadlineExceeded) {
			return nil // whoever was not through has been cut off, and that was logged
		}
		return err
	})
	a.onStop("recordings", stopRecordings, recorded.Close)
	a.onStop("gateway", stopGateway, gate.Close)
	a.onStop("listener", stopPart, func(context.Context) error { return server.Drain() })
}

// listen serves HTTP or HTTPS in the background.
func (a *app) listen(ctx context.Context, c *Config, server *control.Server) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(c.ListenHost, strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("listen on PORT: %w", err)
	}
	a.url, a.otherURLs = addresses(c, l)
	tlsConfig, err := tlsConfig(c, c.certifiedHosts())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if tlsConfig != nil {
		l = tls.NewListener(l, tlsConfig)
	}
	a.serving.Go(func() {
		if err := server.Serve(l); err != nil {
			a.fail("http", err)
		}
	})
	return nil
}

// cluster returns this node's place among others, or nil.
func (c *Config) cluster(keys secrets) *bus.Cluster {
	if len(c.ClusterRoutes) == 0 {
		return nil
	}
	return &bus.Cluster{
		Node: keys.nodeID, Addr: net.JoinHostPort(c.ListenHost, strconv.Itoa(c.ClusterPort)), Routes: c.ClusterRoutes,
		Secret: hex.EncodeToString(keys.derive("cluster routes")),
	}
}

// mediaTCPAddr returns where media is taken over TCP, empty for nowhere.
func (c *Config) mediaTCPAddr() string {
	if c.MediaTCPPort < 0 {
		return ""
	}
	return net.JoinHostPort(c.ListenHost, strconv.Itoa(c.MediaTCPPort))
}

// burstWindow returns the window in the words of the SFU, whose zero is the
// default.
func (c *Config) burstWindow() time.Duration {
	if c.BurstWindowMS == 0 {
		return -1
	}
	return time.Duration(c.BurstWindowMS) * time.Millisecond
}
