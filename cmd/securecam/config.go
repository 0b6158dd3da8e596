package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"

	"github.com/securecam/securecam/sfu"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/streams"
)

// cli is the command line. Every setting is a flag, and the environment
// variable of the same name in capitals.
type cli struct {
	Config `embed:""`

	Serve   struct{} `cmd:"" default:"withargs" help:"Run the server (what securecam does without a word)."`
	Migrate struct{} `cmd:"" help:"Bring the database to this version's schema and exit."`
	User    struct {
		Create createUserArgs `cmd:"" help:"Create an account."`
	} `cmd:"" help:"Manage accounts."`
	Health  struct{} `cmd:"" help:"Exit with 0 if the server of this configuration is ready."`
	Version struct{} `cmd:"" help:"Print the version."`
}

// Config is everything that can be set; help.go says what it means. Only this
// package reads it; every other package gets a Config of its own.
type Config struct {
	ListenHost string `group:"Server" env:"LISTEN_HOST"`
	Port       int    `group:"Server" env:"PORT" default:"8080"`
	DataDir    string `group:"Server" env:"DATA_DIR" default:"./data"`
	LogLevel   string `group:"Server" env:"LOG_LEVEL" enum:"debug,info,warn,error" default:"info"`

	TLSCertFile    string   `group:"Server" env:"TLS_CERT_FILE"`
	TLSKeyFile     string   `group:"Server" env:"TLS_KEY_FILE"`
	TLSSelfSigned  bool     `group:"Server" env:"TLS_SELF_SIGNED"`
	TrustedProxies []string `group:"Server" env:"TRUSTED_PROXIES"`

	DatabaseURL string `group:"State" env:"DATABASE_URL"`
	AutoMigrate bool   `group:"State" env:"AUTO_MIGRATE" default:"true" negatable:""`
	NATSURL     string `group:"State" env:"NATS_URL" name:"nats-url"`

	ClusterRoutes []string `group:"State" env:"CLUSTER_ROUTES"`
	ClusterPort   int      `group:"State" env:"CLUSTER_PORT" default:"6222"`
	NodeURL       string   `group:"State" env:"NODE_URL" name:"node-url"`

	BetterAuthSecret         string   `group:"Auth" env:"BETTER_AUTH_SECRET"`
	BetterAuthBaseURL        string   `group:"Auth" env:"BETTER_AUTH_BASE_URL" name:"better-auth-base-url"`
	BetterAuthTrustedOrigins []string `group:"Auth" env:"BETTER_AUTH_TRUSTED_ORIGINS"`
	SignUp                   bool     `group:"Auth" env:"SIGN_UP" default:"true" negatable:""`
	DeviceOnlineStaleSeconds int      `group:"Auth" env:"DEVICE_ONLINE_STALE_SECONDS" default:"90"`

	IdentitySettings `embed:""`

	AdminUsername string `group:"Admin" env:"ADMIN_USERNAME"`
	AdminPassword string `group:"Admin" env:"ADMIN_PASSWORD"`

	MinIOEndpoint               string `group:"Objects" env:"MINIO_ENDPOINT" name:"minio-endpoint"`
	MinIOPort                   int    `group:"Objects" env:"MINIO_PORT" name:"minio-port" default:"9000"`
	MinIOUseSSL                 bool   `group:"Objects" env:"MINIO_USE_SSL" name:"minio-use-ssl"`
	MinIOAccessKey              string `group:"Objects" env:"MINIO_ACCESS_KEY" name:"minio-access-key"`
	MinIOSecretKey              string `group:"Objects" env:"MINIO_SECRET_KEY" name:"minio-secret-key"`
	MinIOBucket                 string `group:"Objects" env:"MINIO_BUCKET" name:"minio-bucket" default:"securecam"`
	MinIOPublicURL              string `group:"Objects" env:"MINIO_PUBLIC_URL" name:"minio-public-url"`
	MaxStorageBytes             int64  `group:"Objects" env:"MAX_STORAGE_BYTES_PER_USER" name:"max-storage-bytes-per-user" default:"0"`
	MinIOPresignedExpirySeconds int    `group:"Objects" env:"MINIO_PRESIGNED_EXPIRY_SECONDS" name:"minio-presigned-expiry-seconds" default:"3600"` //nolint:lll // a tag has no lines

	MediaMode     string `group:"Media" env:"MEDIA_MODE" default:"single_server_sfu"`
	MediaProvider string `group:"Media" env:"MEDIA_PROVIDER"`

	MediaUDPPort         int      `group:"Media" env:"MEDIA_UDP_PORT" name:"media-udp-port" default:"8090"`
	MediaTCPPort         int      `group:"Media" env:"MEDIA_TCP_PORT" name:"media-tcp-port" default:"8090"`
	PublicIPs            []string `group:"Media" env:"PUBLIC_IPS" name:"public-ips"`
	STUNURLs             []string `group:"Media" env:"STUN_URLS" name:"stun-urls"`
	ICELite              bool     `group:"Media" env:"ICE_LITE" name:"ice-lite"`
	MediaTokenTTLSeconds int      `group:"Media" env:"MEDIA_TOKEN_TTL_SECONDS" name:"media-token-ttl-seconds" default:"3600"`

	ConsentTimeoutSeconds int `group:"Media" env:"CONSENT_TIMEOUT_SECONDS" default:"30"`

	MaxMediaSessions  int `group:"Media" env:"MAX_MEDIA_SESSIONS" default:"500"`
	MaxViewers        int `group:"Media" env:"MAX_VIEWERS" default:"2000"`
	MaxViewerSessions int `group:"Media" env:"MAX_VIEWER_SESSIONS" default:"8"`
	BurstWindowMS     int `group:"Media" env:"BURST_WINDOW_MS" name:"burst-window-ms" default:"5"`

	UDPOffload bool `group:"Media" env:"UDP_OFFLOAD" name:"udp-offload" default:"true" negatable:""`

	StreamRequestTimeoutSeconds int `group:"Media" env:"STREAM_REQUEST_TIMEOUT_SECONDS" default:"60"`
	PublisherTimeoutSeconds     int `group:"Media" env:"PUBLISHER_TIMEOUT_SECONDS" default:"30"`
	ViewerTimeoutSeconds        int `group:"Media" env:"VIEWER_TIMEOUT_SECONDS" default:"60"`

	PushWorkerIntervalMS      int      `group:"Workers" env:"PUSH_WORKER_INTERVAL_MS" name:"push-worker-interval-ms" default:"10000"`
	PushMaxAttempts           int      `group:"Workers" env:"PUSH_MAX_ATTEMPTS" default:"8"`
	PushSubject               string   `group:"Workers" env:"PUSH_SUBJECT"`
	OutgoingNetworks          []string `group:"Workers" env:"OUTGOING_NETWORKS"`
	RecordingStaleSeconds     int      `group:"Workers" env:"RECORDING_STALE_SECONDS" default:"1800"`
	RecordingWorkerIntervalMS int      `group:"Workers" env:"RECORDING_WORKER_INTERVAL_MS" name:"recording-worker-interval-ms" default:"30000"`
	EventStaleSeconds         int      `group:"Workers" env:"EVENT_STALE_SECONDS" default:"300"`

	TURNPort         int      `group:"TURN" env:"TURN_PORT" name:"turn-port" default:"3478"`
	TURNRelayPortMin uint16   `group:"TURN" env:"TURN_RELAY_PORT_MIN" name:"turn-relay-port-min" default:"49160"`
	TURNRelayPortMax uint16   `group:"TURN" env:"TURN_RELAY_PORT_MAX" name:"turn-relay-port-max" default:"49359"`
	TURNPeerNetworks []string `group:"TURN" env:"TURN_PEER_NETWORKS" name:"turn-peer-networks"`
	TURNPublicPeers  bool     `group:"TURN" env:"TURN_PUBLIC_PEERS" name:"turn-public-peers"`
	TURNURLs         []string `group:"TURN" env:"TURN_URLS" name:"turn-urls"`
	TURNUsername     string   `group:"TURN" env:"TURN_USERNAME" name:"turn-username"`
	TURNCredential   string   `group:"TURN" env:"TURN_CREDENTIAL" name:"turn-credential"`
}

// createUserArgs are the arguments of "user create".
type createUserArgs struct {
	Email    string `arg:"" help:"E-mail address."`
	Name     string `help:"Name; the part before the @ when empty."`
	Password string `env:"SECURECAM_PASSWORD" help:"Password; read from standard input when empty."`
}

// parse reads .env, the environment and args. An empty command with a nil
// error means that help was printed.
func parse(args []string, stdout, stderr io.Writer) (*cli, string, error) {
	if err := godotenv.Load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("read .env: %w", err)
	}
	var c cli
	exited := false
	parser, err := kong.New(
		&c,
		kong.Name("securecam"),
		kong.Description("A WebRTC camera server: live view, recording and control in one binary."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
	)
	if err != nil {
		return nil, "", fmt.Errorf("command line: %w", err)
	}
	explain(parser)
	if err := forgetEmpty(parser); err != nil {
		return nil, "", err
	}
	parsed, err := parser.Parse(args)
	if exited {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", named(parser, err)
	}
	if err := c.Validate(); err != nil {
		return nil, "", err
	}
	return &c, parsed.Command(), nil
}

// named adds the environment's name to an error that names only the flag.
func named(parser *kong.Kong, err error) error {
	for _, flags := range parser.Model.AllFlags(false) {
		for _, flag := range flags {
			if len(flag.Envs) > 0 && strings.Contains(err.Error(), "--"+flag.Name+" ") {
				return fmt.Errorf("%s: %w", flag.Envs[0], err)
			}
		}
	}
	return err
}

// forgetEmpty takes the settings that are empty out of the environment: empty
// means default, also for numbers and switches, which an empty text is not.
func forgetEmpty(parser *kong.Kong) error {
	for _, flags := range parser.Model.AllFlags(false) {
		for _, flag := range flags {
			for _, name := range flag.Envs {
				if strings.TrimSpace(os.Getenv(name)) != "" {
					continue
				}
				if err := os.Unsetenv(name); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	return nil
}

// Validate names the first setting whose value is not allowed, and what is.
func (c *Config) Validate() error {
	if err := c.validateNumbers(); err != nil {
		return err
	}
	if err := c.validateNotifications(); err != nil {
		return err
	}
	if c.TURNRelayPortMin > c.TURNRelayPortMax || c.TURNRelayPortMin == 0 {
		return fmt.Errorf("TURN_RELAY_PORT_MIN is %d and TURN_RELAY_PORT_MAX %d: use 1 to 65535, the smaller first",
			c.TURNRelayPortMin, c.TURNRelayPortMax)
	}
	if s := c.BetterAuthSecret; s != "" && len(s) < 32 {
		return errors.New("BETTER_AUTH_SECRET is too short: use 32 characters or more, or leave it empty")
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		return errors.New("TLS_CERT_FILE and TLS_KEY_FILE belong together: set both or none")
	}
	if c.TLSCertFile != "" && c.TLSSelfSigned {
		return errors.New("TLS_SELF_SIGNED makes a certificate, TLS_CERT_FILE names one: set one of them")
	}
	if c.MinIOEndpoint != "" && (c.MinIOAccessKey == "" || c.MinIOSecretKey == "") {
		return errors.New("MINIO_ENDPOINT needs MINIO_ACCESS_KEY and MINIO_SECRET_KEY")
	}
	if err := c.validateMedia(); err != nil {
		return err
	}
	if err := c.validateCluster(); err != nil {
		return err
	}
	if err := c.validateIdentity(c.BetterAuthBaseURL); err != nil {
		return err
	}
	if err := c.validateAdmin(); err != nil {
		return err
	}
	return c.validateAddresses()
}

// validateNumbers checks what has a least and a greatest value.
func (c *Config) validateNumbers() error {
	for _, p := range []struct {
		name     string
		min, got int
	}{
		{"PORT", 0, c.Port},
		{"MEDIA_UDP_PORT", 0, c.MediaUDPPort},
		{"MEDIA_TCP_PORT", -1, c.MediaTCPPort},
		{"TURN_PORT", -1, c.TURNPort},
		{"MINIO_PORT", 1, c.MinIOPort},
		{"CLUSTER_PORT", 1, c.ClusterPort},
		{"MAX_MEDIA_SESSIONS", 1, c.MaxMediaSessions},
		{"MAX_VIEWERS", 1, c.MaxViewers},
		{"MAX_VIEWER_SESSIONS", 1, c.MaxViewerSessions},
	} {
		if p.got < p.min || p.got > 65535 {
			return fmt.Errorf("%s is %d: use %d to 65535", p.name, p.got, p.min)
		}
	}
	for _, n := range []struct {
		name          string
		min, max, got int
	}{
		{"DEVICE_ONLINE_STALE_SECONDS", 5, 86400, c.DeviceOnlineStaleSeconds},
		{"MINIO_PRESIGNED_EXPIRY_SECONDS", 60, 604800, c.MinIOPresignedExpirySeconds},
		{"MEDIA_TOKEN_TTL_SECONDS", 30, 86400, c.MediaTokenTTLSeconds},
		{"CONSENT_TIMEOUT_SECONDS", 2, 30, c.ConsentTimeoutSeconds},
		{"STREAM_REQUEST_TIMEOUT_SECONDS", 1, 3600, c.StreamRequestTimeoutSeconds},
		{"PUBLISHER_TIMEOUT_SECONDS", 1, 3600, c.PublisherTimeoutSeconds},
		{"VIEWER_TIMEOUT_SECONDS", 1, 3600, c.ViewerTimeoutSeconds},
		{"EVENT_STALE_SECONDS", 10, 86400, c.EventStaleSeconds},
		{"RECORDING_STALE_SECONDS", 60, 604800, c.RecordingStaleSeconds},
	} {
		if n.got < n.min || n.got > n.max {
			return fmt.Errorf("%s is %d: use %d to %d seconds", n.name, n.got, n.min, n.max)
		}
	}
	if c.MaxStorageBytes < 0 {
		return fmt.Errorf("MAX_STORAGE_BYTES_PER_USER is %d: use a number of bytes, or 0 for any", c.MaxStorageBytes)
	}
	if c.BurstWindowMS < 0 || c.BurstWindowMS > 100 {
		return fmt.Errorf("BURST_WINDOW_MS is %d: use 0 to 100 milliseconds", c.BurstWindowMS)
	}
	return nil
}

const minAdminPassword = 12 // characters

func (c *Config) validateAdmin() error {
	switch {
	case (c.AdminUsername == "") != (c.AdminPassword == ""):
		return errors.New("ADMIN_USERNAME and ADMIN_PASSWORD belong together: set both, or none for no /admin")
	case strings.ContainsAny(c.AdminUsername, ":\x00\r\n"):
		return errors.New("ADMIN_USERNAME takes no colon: HTTP Basic authentication ends the name there")
	case c.AdminPassword != "" && utf8.RuneCountInString(c.AdminPassword) < minAdminPassword:
		return fmt.Errorf("ADMIN_PASSWORD is too short: use %d characters or more", minAdminPassword)
	}
	return nil
}

// The media modes: MEDIA_PROVIDER names what follows from them.
const (
	modeSFU = "single_server_sfu"
	modeP2P = streams.ProviderP2P
)

func (c *Config) validateMedia() error {
	if c.MediaMode != modeSFU && c.MediaMode != modeP2P {
		return fmt.Errorf("MEDIA_MODE is %q: use %s, or %s to have devices send media to each other", c.MediaMode, modeSFU, modeP2P)
	}
	if p := c.MediaProvider; p != "" && p != streams.ProviderSFU && p != streams.ProviderP2P {
		return fmt.Errorf("MEDIA_PROVIDER is %q: use %s or %s, or leave it empty", p, streams.ProviderSFU, streams.ProviderP2P)
	}
	if c.MediaProvider == streams.ProviderSFU && c.MediaMode == modeP2P {
		return fmt.Errorf("MEDIA_PROVIDER is %s and MEDIA_MODE %s: set one of them", c.MediaProvider, c.MediaMode)
	}
	return c.validatePeers()
}

// validatePeers looks at what relays may reach besides each other.
func (c *Config) validatePeers() error {
	for _, s := range []struct {
		name string
		set  bool
	}{{"TURN_PEER_NETWORKS", len(c.TURNPeerNetworks) > 0}, {"TURN_PUBLIC_PEERS", c.TURNPublicPeers}} {
		switch {
		case !s.set:
		case c.mediaProvider() != streams.ProviderP2P:
			return fmt.Errorf("%s is for MEDIA_MODE=%s: otherwise relays lead to this server's media port alone", s.name, modeP2P)
		case c.TURNPort < 0:
			return fmt.Errorf("%s is for the relays of this server, and TURN_PORT=-1 leaves it none: set one of them", s.name)
		}
	}
	_, err := networks("TURN_PEER_NETWORKS", c.TURNPeerNetworks)
	return err
}

// mediaProvider returns who carries media: p2p if either setting says so, since
// the other one has a default.
func (c *Config) mediaProvider() string {
	if c.MediaMode == modeP2P || c.MediaProvider == streams.ProviderP2P {
		return streams.ProviderP2P
	}
	return streams.ProviderSFU
}

// validateCluster holds that nodes of a cluster can only work on what they
// share.
func (c *Config) validateCluster() error {
	if len(c.ClusterRoutes) == 0 {
		return nil
	}
	for _, r := range c.ClusterRoutes {
		if _, err := bus.ParseRoute(r); err != nil {
			return errors.New("CLUSTER_ROUTES takes the nodes' addresses as host:port or nats://host:port, divided by commas")
		}
	}
	switch {
	case c.NATSURL != "":
		return errors.New("CLUSTER_ROUTES makes a cluster of the nodes' own NATS, NATS_URL names another: set one of them")
	case c.BetterAuthSecret == "":
		return errors.New("CLUSTER_ROUTES needs BETTER_AUTH_SECRET, the same on every node")
	case !strings.HasPrefix(c.DatabaseURL, "postgres"):
		return errors.New("CLUSTER_ROUTES needs DATABASE_URL with a PostgreSQL that every node reaches")
	case c.MinIOEndpoint == "":
		return errors.New("CLUSTER_ROUTES needs MINIO_ENDPOINT: what one node keeps on its disk the others do not have")
	}
	return nil
}

func (c *Config) validateAddresses() error {
	if _, err := c.publicIPs(); err != nil {
		return err
	}
	if _, err := c.trustedProxies(); err != nil {
		return err
	}
	for _, u := range c.STUNURLs {
		if _, err := sfu.ParseSTUN(u); err != nil {
			return fmt.Errorf("STUN_URLS has %q: use stun:host[:port], divided by commas", u)
		}
	}
	if err := c.validateURLs(); err != nil {
		return err
	}
	if strings.Contains(c.MinIOEndpoint, "/") {
		return fmt.Errorf("MINIO_ENDPOINT is %q: use a host name alone, with MINIO_PORT and MINIO_USE_SSL beside it", c.MinIOEndpoint)
	}
	switch {
	case c.DatabaseURL == "", strings.HasPrefix(c.DatabaseURL, "sqlite:"),
		strings.HasPrefix(c.DatabaseURL, "postgres://"), strings.HasPrefix(c.DatabaseURL, "postgresql://"):
	default:
		return errors.New("DATABASE_URL takes postgres://user:password@host:port/name or sqlite:PATH")
	}
	return nil
}

// bucketName is what S3 takes for one.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// validateURLs looks at every setting that is an address to be reached.
func (c *Config) validateURLs() error {
	web := map[string][]string{
		"BETTER_AUTH_BASE_URL": {c.BetterAuthBaseURL}, "MINIO_PUBLIC_URL": {c.MinIOPublicURL}, "NODE_URL": {c.NodeURL},
		"BETTER_AUTH_TRUSTED_ORIGINS": c.BetterAuthTrustedOrigins,
	}
	for _, name := range slices.Sorted(maps.Keys(web)) {
		for _, o := range web[name] {
			u, err := url.Parse(o)
			if o != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
				return fmt.Errorf("%s has %q: use http(s)://host[:port]", name, o)
			}
		}
	}
	for _, o := range c.TURNURLs {
		scheme, host, _ := strings.Cut(o, ":")
		if !slices.Contains([]string{"stun", "stuns", "turn", "turns"}, scheme) || host == "" || strings.HasPrefix(host, "/") {
			return fmt.Errorf("TURN_URLS has %q: use stun:, turn: or turns: with host[:port][?transport=udp], divided by commas", o)
		}
	}
	if c.MinIOEndpoint != "" && !bucketName.MatchString(c.MinIOBucket) {
		return fmt.Errorf("MINIO_BUCKET is %q: use 3 to 63 small letters, digits, dots and dashes", c.MinIOBucket)
	}
	return nil
}

func (c *Config) publicIPs() ([]netip.Addr, error) {
	ips := make([]netip.Addr, 0, len(c.PublicIPs))
	for _, s := range c.PublicIPs {
		ip, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil || ip.Zone() != "" {
			return nil, fmt.Errorf("PUBLIC_IPS has %q: use IPv4 or IPv6 addresses, divided by commas", s)
		}
		ips = append(ips, ip.Unmap())
	}
	return ips, nil
}

func (c *Config) trustedProxies() ([]netip.Prefix, error) {
	return networks("TRUSTED_PROXIES", c.TrustedProxies)
}

// networks reads addresses and networks.
func networks(setting string, list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		s = strings.TrimSpace(s)
		p, err := netip.ParsePrefix(s)
		if ip, ipErr := netip.ParseAddr(s); ipErr == nil {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s has %q: use addresses or networks such as 10.0.0.0/8", setting, s)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// databaseURL returns where the database is: SQLite in DATA_DIR by default.
func (c *Config) databaseURL() string {
	if c.DatabaseURL == "" {
		return "sqlite:" + filepath.Join(c.DataDir, "securecam.db")
	}
	return c.DatabaseURL
}

func (c *Config) scheme() string {
	if c.TLSCertFile != "" || c.TLSSelfSigned {
		return "https"
	}
	return "http"
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
