package main

import (
	"context"
	"crypto/tls"
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

	"github.com/securecam/securecam/control"
	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/commands"
	"github.com/securecam/securecam/control/devices"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/links"
	"github.com/securecam/securecam/control/media"
	"github.com/securecam/securecam/control/objects"
	"github.com/securecam/securecam/control/ops"
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
	_ streams.Media        = streamMedia{}
	_ recordings.Recorder  = tapRecorder{}
)

// state is what survives a restart, and the bus.
type state struct {
	db      *store.DB
	objects blob.Store
	disk    *blob.Disk // nil when objects are in MinIO
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
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			if stopErr := a.stop(stopCtx); stopErr != nil {
				log.Warn("stop after a failed start", slog.Any("err", stopErr))
			}
		}
	}()
	if err := makeDataDir(c); err != nil {
		return a, err
	}
	keys, err := loadSecrets(c.DataDir, c.BetterAuthSecret)
	if err != nil {
		return a, err
	}
	s, err := a.openState(ctx, c, keys)
	if err != nil {
		return a, err
	}
	events := &mediaEvents{}
	p, err := a.openPlane(c, keys, events)
	if err != nil {
		return a, err
	}
	server, err := a.openControl(ctx, c, keys, s, p, events)
	if err != nil {
		return a, err
	}
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
	a.onStop("store", func(context.Context) error { return db.Close() })
	if err := prepareSchema(ctx, c, db); err != nil {
		return state{}, err
	}
	s := state{db: db}
	if s.objects, s.disk, err = openObjects(ctx, c, keys, a.log); err != nil {
		return state{}, fmt.Errorf("open the object store: %w", err)
	}
	a.onStop("objects", func(context.Context) error { return s.objects.Close() })
	s.bus, err = bus.Open(ctx, bus.Config{URL: c.NATSURL, StoreDir: filepath.Join(c.DataDir, "bus"), Logger: a.log})
	if err != nil {
		return state{}, fmt.Errorf("open the NATS bus: %w", err)
	}
	a.onStop("bus", s.bus.Close)
	return s, nil
}

func openObjects(ctx context.Context, c *Config, keys secrets, log logger) (blob.Store, *blob.Disk, error) {
	if c.MinIOEndpoint == "" {
		disk, err := blob.OpenDisk(blob.DiskConfig{Dir: filepath.Join(c.DataDir, "objects"), Secret: keys.derive("object URLs")})
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
	return m, nil, err
}

func (a *app) openPlane(c *Config, keys secrets, events *mediaEvents) (plane, error) {
	ips, err := c.publicIPs()
	if err != nil {
		return plane{}, err
	}
	var p plane
	p.sfu, err = sfu.New(sfu.Config{
		UDPAddr:   net.JoinHostPort(c.ListenHost, strconv.Itoa(c.MediaUDPPort)),
		PublicIPs: ips,
		Logger:    a.log,
		Observer:  events,
	})
	if err != nil {
		return plane{}, fmt.Errorf("open the media port: %w", err)
	}
	a.onStop("sfu", p.sfu.Shutdown)
	if c.TURNPort < 0 {
		return p, nil
	}
	p.turn, err = turn.New(turn.Config{
		Addr:         net.JoinHostPort(c.ListenHost, strconv.Itoa(c.TURNPort)),
		PublicIPs:    ips,
		Secret:       keys.derive("TURN credentials"),
		RelayPortMin: c.TURNRelayPortMin,
		RelayPortMax: c.TURNRelayPortMax,
		AllowPeers:   func() []netip.AddrPort { return p.sfu.Addrs() },
		Logger:       a.log,
	})
	if err != nil {
		return plane{}, fmt.Errorf("open the TURN port: %w", err)
	}
	a.onStop("turn", func(context.Context) error { return p.turn.Close() })
	return p, nil
}

// openControl makes the features and joins them; it is the table of contents
// of the control plane.
func (a *app) openControl(
	ctx context.Context, c *Config, keys secrets, s state, p plane, events *mediaEvents,
) (*control.Server, error) {
	baseURL, err := c.baseURL()
	if err != nil {
		return nil, err
	}
	proxies, err := c.trustedProxies()
	if err != nil {
		return nil, err
	}
	accounts, err := auth.New(auth.Config{
		Store: s.db, Secret: keys.auth, BaseURL: c.BetterAuthBaseURL, TrustedOrigins: c.BetterAuthTrustedOrigins, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	mediaTokens, err := auth.NewSigner(keys.auth, "media token")
	if err != nil {
		return nil, err
	}
	gate := gateway.New(gateway.Config{Auth: accounts, Presence: s.db, Bus: s.bus, Logger: a.log})
	commandService := commands.New(commands.Config{Store: s.db, Gateway: gate, Logger: a.log})
	streamService := streams.New(streams.Config{
		Store: s.db, Gateway: gate, Commands: commandService, Media: streamMedia{p.sfu}, Logger: a.log,
		AcceptTimeout:    seconds(c.StreamRequestTimeoutSeconds),
		PublisherTimeout: seconds(c.PublisherTimeoutSeconds),
		ViewerTimeout:    seconds(c.ViewerTimeoutSeconds),
	})
	deviceService := devices.New(devices.Config{
		Store: s.db, Tokens: accounts, Gateway: gate, Streams: streamService,
		OnlineStale: seconds(c.DeviceOnlineStaleSeconds), Logger: a.log,
	})
	linkService := links.New(links.Config{Store: s.db, Streams: streamService, Logger: a.log})
	mediaService := media.New(media.Config{
		Store: s.db, SFU: whipSFU{p.sfu}, Signer: mediaTokens, Sessions: streamService, ICE: c.iceServers(keys, p.turn),
		Logger: a.log, BaseURL: baseURL, TokenTTL: seconds(c.MediaTokenTTLSeconds),
	})
	recordingService := recordings.New(recordings.Config{
		Store: s.db, Objects: recordedObjects{s.objects}, Recorder: tapRecorder{p.sfu, recordingObjects{s.objects}, a.log},
		NodeID: keys.nodeID, Bucket: c.bucket(), URLTTL: seconds(c.MinIOPresignedExpirySeconds), Logger: a.log,
	})
	events.streams, events.recordings = streamService, recordingService

	features := []control.Feature{
		accounts, gate, deviceService, linkService, commandService,
		streamService, mediaService, recordingService,
		ops.New(ops.Config{Checks: []ops.Check{
			{Name: "database", Ping: s.db.Ping}, {Name: "objects", Ping: s.objects.Ping}, {Name: "bus", Ping: s.pingBus},
		}, Logger: a.log}),
	}
	if s.disk != nil {
		features = append(features, objects.New(signedFiles{s.disk}))
	}
	server, err := control.New(control.Config{
		Auth: accounts, Features: features, Static: web.FS, Version: version(), TrustedOrigins: c.BetterAuthTrustedOrigins,
		TrustedProxies: proxies, ObjectOrigin: c.objectOrigin(), Logger: a.log,
	})
	if err != nil {
		return nil, err
	}

	a.run("sessions", accounts.Run)
	a.run("streams", streamService.Run)
	a.onStop("recordings", recordingService.Close)
	a.onStop("gateway", gate.Close)
	if err := recordingService.Recover(ctx); err != nil {
		return nil, fmt.Errorf("recover recordings: %w", err)
	}
	return server, nil
}

// listen serves HTTP or HTTPS in the background.
func (a *app) listen(ctx context.Context, c *Config, server *control.Server) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(c.ListenHost, strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("listen on PORT: %w", err)
	}
	a.url, a.otherURLs = addresses(c, l)
	tlsConfig, err := tlsConfig(c, append(localIPs(), "localhost", "127.0.0.1"))
	if err != nil {
		return err
	}
	if tlsConfig != nil {
		l = tls.NewListener(l, tlsConfig)
	}
	a.run("http", func(context.Context) error { return server.Serve(l) })
	a.onStop("http listener", server.Shutdown)
	return nil
}

// baseURL returns the configured public URL, or nil.
func (c *Config) baseURL() (*url.URL, error) {
	if c.BetterAuthBaseURL == "" {
		return nil, nil //nolint:nilnil // requests tell
	}
	return url.Parse(c.BetterAuthBaseURL)
}

// objectOrigin returns where browsers fetch objects from, when that is not
// this server.
func (c *Config) objectOrigin() string {
	switch {
	case c.MinIOPublicURL != "":
		return strings.TrimRight(c.MinIOPublicURL, "/")
	case c.MinIOEndpoint == "":
		return ""
	case c.MinIOUseSSL:
		return "https://" + net.JoinHostPort(c.MinIOEndpoint, strconv.Itoa(c.MinIOPort))
	default:
		return "http://" + net.JoinHostPort(c.MinIOEndpoint, strconv.Itoa(c.MinIOPort))
	}
}

// bucket returns the bucket that objects go to, "" when they lie on disk.
func (c *Config) bucket() string {
	if c.MinIOEndpoint == "" {
		return ""
	}
	return c.MinIOBucket
}

func (c *Config) iceServers(keys secrets, t *turn.Server) iceServers {
	i := iceServers{secret: keys.derive("TURN credentials"), ttl: seconds(c.MediaTokenTTLSeconds)}
	if t != nil {
		i.port = t.Addr().Port
	}
	if len(c.TURNURLs) > 0 {
		i.external = &media.ICEServer{URLs: c.TURNURLs, Username: c.TURNUsername, Credential: c.TURNCredential}
	}
	return i
}
