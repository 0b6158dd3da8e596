package main

import (
	"net/url"
	"strings"
	"time"

	"github.com/securecam/securecam/control"
	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/commands"
	"github.com/securecam/securecam/control/devices"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/links"
	"github.com/securecam/securecam/control/media"
	"github.com/securecam/securecam/control/recordings"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/control/streams"
	"github.com/securecam/securecam/recorder"
	"github.com/securecam/securecam/turn"
)

// cameras are the features that bring a camera's picture to its viewers.
type cameras struct {
	devices    *devices.Service
	links      *links.Service
	commands   *commands.Service
	streams    *streams.Service
	media      *media.Service
	recordings *recordings.Service
	recorded   *recorder.Totals
}

// openCameras makes them.
func (a *app) openCameras(
	c *Config, keys secrets, s state, p plane, gate *gateway.Gateway, accounts *auth.Service, told notifier,
) (cameras, error) {
	baseURL, err := c.baseURL()
	if err != nil {
		return cameras{}, err
	}
	mediaTokens, err := auth.NewSigner(keys.auth, "media token")
	if err != nil {
		return cameras{}, err
	}
	w := cameras{recorded: new(recorder.Totals)}
	w.devices = devices.New(devices.Config{
		Store: s.db, Tokens: accounts, OnlineStale: seconds(c.DeviceOnlineStaleSeconds), Logger: a.log, Now: s.db.Now,
	})
	w.links = links.New(links.Config{Store: s.db, Logger: a.log, Now: s.db.Now})
	w.commands = commands.New(commands.Config{Store: s.db, Gateway: gate, Logger: a.log, Now: s.db.Now})
	s.db.OnCommandsEnded(w.commands.TellEnded)
	var provider streams.Provider = streamMedia{p.sfu}
	if c.mediaProvider() == streams.ProviderP2P {
		provider = streams.PeerToPeer{Presence: gate}
	}
	w.streams = streams.New(streams.Config{
		Store: s.db, Gateway: gate, Commands: w.commands, Media: provider, Bus: s.bus, NodeID: keys.nodeID, Logger: a.log,
		Notifier:         told,
		Now:              s.db.Now,
		AcceptTimeout:    seconds(c.StreamRequestTimeoutSeconds),
		PublisherTimeout: seconds(c.PublisherTimeoutSeconds),
		ViewerTimeout:    seconds(c.ViewerTimeoutSeconds),
		SignalsPerSecond: orAny(c.GatewaySignalsPerSecond),
	})
	w.media = media.New(media.Config{
		Store: s.db, SFU: whipSFU{p.sfu}, Signer: mediaTokens, Sessions: w.streams, ICE: c.iceServers(keys, p.turn, s.db.Now),
		Logger: a.log, BaseURL: baseURL, TokenTTL: seconds(c.MediaTokenTTLSeconds), Now: s.db.Now,
		NodeID: keys.nodeID, NodeURL: c.nodeURL(), Nodes: s.bus,
	})
	w.recordings = recordings.New(recordings.Config{
		Store: s.db, Objects: recordedObjects{s.objects}, Recorder: tapRecorder{p.sfu, recordingObjects{s.objects}, w.recorded, a.log},
		NodeID: keys.nodeID, Bucket: c.bucket(), Public: c.public(), URLTTL: seconds(c.MinIOPresignedExpirySeconds), Logger: a.log,
		Now:         s.db.Now,
		UploadStale: seconds(c.RecordingStaleSeconds), UploadInterval: milliseconds(c.RecordingWorkerIntervalMS),
	})
	return w, nil
}

func (w cameras) features() []control.Feature {
	return []control.Feature{w.devices, w.links, w.commands, w.streams, w.media, w.recordings}
}

func (w cameras) run(a *app) {
	a.run("streams", w.streams.Run)
	a.run("commands", w.commands.Run)
	a.run("media events", w.media.Run)
	a.run("recording uploads", w.recordings.RunUploads)
}

// nodeURL returns the URL that reaches this very node, or nil. Validate has
// parsed it.
func (c *Config) nodeURL() *url.URL {
	if c.NodeURL == "" {
		return nil
	}
	u, err := url.Parse(strings.TrimRight(c.NodeURL, "/"))
	if err != nil {
		return nil
	}
	return u
}

// baseURL returns the configured public URL, or nil.
func (c *Config) baseURL() (*url.URL, error) {
	if c.BetterAuthBaseURL == "" {
		return nil, nil //nolint:nilnil // requests tell
	}
	return url.Parse(c.BetterAuthBaseURL)
}

// public returns where clients reach this server.
func (c *Config) public() rest.Public {
	return rest.Public{URL: c.BetterAuthBaseURL, Local: c.localURL()}
}

// bucket returns the bucket that objects go to, "" when they lie on disk.
func (c *Config) bucket() string {
	if c.MinIOEndpoint == "" {
		return ""
	}
	return c.MinIOBucket
}

func (c *Config) iceServers(keys secrets, t *turn.Server, now func() time.Time) iceServers {
	i := iceServers{secret: keys.derive("TURN credentials"), ttl: seconds(c.MediaTokenTTLSeconds), now: now}
	if t != nil {
		i.port = t.Addr().Port
	}
	if len(c.TURNURLs) > 0 {
		i.external = &media.ICEServer{URLs: c.TURNURLs, Username: c.TURNUsername, Credential: c.TURNCredential}
	}
	return i
}
