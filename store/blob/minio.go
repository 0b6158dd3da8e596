package blob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	defaultRegion   = "us-east-1"
	defaultMaxSpool = 4 << 30

	// A server that is gone must be noticed by people waiting at a prompt or
	// a button, so requests without a body get seconds.
	openTimeout    = 5 * time.Second
	requestTimeout = 10 * time.Second
	existsTimeout  = time.Second
	// partTimeout lets a part of 5 MiB through at 350 kbit/s.
	partTimeout = 2 * time.Minute
)

// MinIOConfig configures a MinIO.
type MinIOConfig struct {
	Endpoint       string // host:port
	Secure         bool   // https
	PublicEndpoint string // the URL under which browsers reach the server, when it is another
	AccessKey      string
	SecretKey      string
	Bucket         string // made when absent
	Region         string // "us-east-1" when empty
	SpoolDir       string // of this process alone; bytes wait here until they are uploaded
	MaxSpool       int64  // bytes, 4 GiB when zero
	Logger         *slog.Logger
}

// MinIO keeps objects in a bucket of MinIO or another S3 server.
//
// What a Writer takes goes first into a journal below SpoolDir and from there,
// part by part, to the server. So neither a killed process nor an outage loses
// it: an outage only lets the spool grow, up to MaxSpool, where Write returns
// ErrSpoolFull. The head of the object stays in the spool until Commit, which
// uploads it last.
//
// MinIO deletes a multipart upload 24 hours after it began
// (MINIO_API_STALE_UPLOADS_EXPIRY). A Writer must commit before that; one that
// comes later, or that resumes later, fails with ErrLost.
type MinIO struct {
	core      minio.Core
	public    *minio.Client // signs URLs
	transport *http.Transport
	endpoint  string
	bucket    string
	region    string
	spool     *spool
	log       *slog.Logger

	claims claims
	down   atomic.Bool // the last upload failed
	parts  atomic.Uint64
	tries  atomic.Uint64

	mu        sync.Mutex           // guards closed and uploaders
	closed    bool                 // Close was called
	uploaders map[*uploader]func() // each with its way to stop it
}

var _ Store = (*MinIO)(nil)

// MinIOStats are a MinIO's counters.
type MinIOStats struct {
	SpoolBytes    int64  // waiting in the spool now
	SpoolRefused  uint64 // Writes that got ErrSpoolFull
	PartsUploaded uint64
	Retries       uint64 // uploads that failed and were tried again
	Down          bool   // the last upload failed
}

// OpenMinIO connects to the server and makes the bucket when it is absent. It
// fails within seconds when the server cannot be reached.
func OpenMinIO(ctx context.Context, c MinIOConfig) (*MinIO, error) {
	if c.Region == "" {
		c.Region = defaultRegion
	}
	if c.MaxSpool == 0 {
		c.MaxSpool = defaultMaxSpool
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m := &MinIO{
		endpoint: c.Endpoint, bucket: c.Bucket, region: c.Region, log: c.Logger,
		uploaders: make(map[*uploader]func()),
	}
	if err := m.connect(c); err != nil {
		return nil, fmt.Errorf("blob: MinIO at %s: %w", c.Endpoint, err)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := m.ensureBucket(ctx); err != nil {
		m.transport.CloseIdleConnections()
		return nil, fmt.Errorf("blob: MinIO at %s, bucket %s: %w", c.Endpoint, c.Bucket, err)
	}
	var err error
	if m.spool, err = openSpool(c.SpoolDir, c.MaxSpool); err != nil {
		m.transport.CloseIdleConnections()
		return nil, err
	}
	return m, nil
}

func (m *MinIO) connect(c MinIOConfig) error {
	transport, err := minio.DefaultTransport(c.Secure)
	if err != nil {
		return err
	}
	transport.DialContext = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	transport.TLSHandshakeTimeout = 5 * time.Second
	transport.ResponseHeaderTimeout = 30 * time.Second
	m.transport = transport

	options := minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:     c.Secure,
		Transport:  transport,
		Region:     c.Region, // saves a round trip, and signing needs none at all
		MaxRetries: 1,        // the library's ten tries hide an outage for seconds; see uploader
	}
	if m.core.Client, err = minio.New(c.Endpoint, &options); err != nil {
		return err
	}
	m.public = m.core.Client
	if c.PublicEndpoint == "" {
		return nil
	}
	public, err := url.Parse(c.PublicEndpoint)
	if err != nil || public.Host == "" || strings.Trim(public.Path, "/") != "" {
		return errors.New("the public endpoint is not a URL like https://host:port")
	}
	// The signature covers the host name.
	options.Secure = public.Scheme == "https"
	m.public, err = minio.New(public.Host, &options)
	return err
}

func (m *MinIO) ensureBucket(ctx context.Context) error {
	exists, err := m.core.BucketExists(ctx, m.bucket)
	if err != nil || exists {
		return err
	}
	err = m.core.MakeBucket(ctx, m.bucket, minio.MakeBucketOptions{Region: m.region})
	if errorCode(err) == minio.BucketAlreadyOwnedByYou {
		return nil
	}
	return err
}

// Create implements Store. It does not need the server: that an object
// exists there may come out only in Commit.
func (m *MinIO) Create(ctx context.Context, key, contentType string) (Writer, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if !m.claims.take(key) {
		return nil, ErrExists
	}
	w, err := m.create(ctx, key, contentType)
	if err != nil {
		m.claims.drop(key)
		return nil, err
	}
	return w, nil
}

func (m *MinIO) create(ctx context.Context, key, contentType string) (*minioWriter, error) {
	if !m.down.Load() {
		ctx, cancel := context.WithTimeout(ctx, existsTimeout)
		defer cancel()
		if _, err := m.core.StatObject(ctx, m.bucket, key, minio.StatObjectOptions{}); err == nil {
			return nil, ErrExists
		}
	}
	entry, err := m.spool.create(key, contentType)
	if err != nil {
		return nil, err
	}
	return m.newWriter(entry)
}

// Resume implements Store.
func (m *MinIO) Resume(_ context.Context, key string) (Writer, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if !m.claims.take(key) {
		return nil, ErrBusy
	}
	entry, err := m.spool.load(key)
	if err == nil {
		var w *minioWriter
		if w, err = m.newWriter(entry); err == nil {
			return w, nil
		}
	}
	m.claims.drop(key)
	return nil, err
}

// Stats returns the counters.
func (m *MinIO) Stats() MinIOStats {
	return MinIOStats{
		SpoolBytes:    m.spool.bytes.Load(),
		SpoolRefused:  m.spool.refused.Load(),
		PartsUploaded: m.parts.Load(),
		Retries:       m.tries.Load(),
		Down:          m.down.Load(),
	}
}

// Close implements Store.
func (m *MinIO) Close() error {
	m.mu.Lock()
	m.closed = true
	stops := make([]func(), 0, len(m.uploaders))
	for _, stop := range m.uploaders {
		stops = append(stops, stop)
	}
	m.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	m.transport.CloseIdleConnections()
	return nil
}
