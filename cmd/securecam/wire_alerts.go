package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/securecam/securecam/control/events"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/jobs"
	"github.com/securecam/securecam/control/outbound"
	"github.com/securecam/securecam/control/push"
	"github.com/securecam/securecam/control/streams"
	"github.com/securecam/securecam/control/videos"
	"github.com/securecam/securecam/control/webhooks"
	"github.com/securecam/securecam/control/webpush"
	"github.com/securecam/securecam/store"
)

var (
	_ push.Identity    = (*webpush.Server)(nil)
	_ push.Sender      = (*outbound.Client)(nil)
	_ webhooks.Sender  = (*outbound.Client)(nil)
	_ streams.Notifier = notifier{}
)

// projectURL is whom push services may turn to when the operator says nothing.
const projectURL = "https://github.com/securecam/securecam"

// notifier is how those hear of things whom the gateway does not reach.
type notifier struct {
	push     *push.Service
	webhooks *webhooks.Service
}

// Push queues once, for who subscribed: a second process that tells of the same
// end is no error, nor is a device that takes no pushes.
func (n notifier) Push(ctx context.Context, userID, deviceID, event, key string, data any) error {
	_, err := n.push.Send(ctx, push.Message{UserID: userID, DeviceID: deviceID, Type: event, Key: key, Data: data}, store.Actor{})
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) { // told already, or nowhere to send to
		return nil
	}
	return err
}

func (n notifier) Webhook(ctx context.Context, userID, event, key string, data any) error {
	return n.webhooks.Send(ctx, userID, event, key, data)
}

// openNotifier makes what sends messages out of this server.
func (a *app) openNotifier(c *Config, keys secrets, s state) (notifier, error) {
	allowed, err := networks("OUTGOING_NETWORKS", c.OutgoingNetworks)
	if err != nil {
		return notifier{}, err
	}
	identity, err := webpush.NewServer(keys.vapid(), c.pushSubject())
	if err != nil {
		return notifier{}, err
	}
	sender := outbound.New(outbound.Config{Networks: allowed})
	a.onStop("outgoing requests", stopPart, func(context.Context) error { sender.Close(); return nil })
	patience := jobs.Patience{Interval: milliseconds(c.PushWorkerIntervalMS), MaxAttempts: c.PushMaxAttempts}
	return notifier{
		push: push.New(push.Config{
			Store: s.db, Sender: sender, Identity: identity, Bus: s.bus, Logger: a.log,
			Patience: patience, Now: s.db.Now,
		}),
		webhooks: webhooks.New(webhooks.Config{
			Store: s.db, Sender: sender, Bus: s.bus, Logger: a.log, Patience: patience, Now: s.db.Now,
		}),
	}, nil
}

// alerts are who is told what cameras see, and what they upload of it.
type alerts struct {
	notifier
	events *events.Service
	videos *videos.Service
}

func (a *app) openAlerts(c *Config, keys secrets, s state, gate *gateway.Gateway) (alerts, error) {
	n, err := a.openNotifier(c, keys, s)
	if err != nil {
		return alerts{}, err
	}
	ttl := seconds(c.MinIOPresignedExpirySeconds)
	return alerts{
		notifier: n,
		events: events.New(events.Config{
			Store: s.db, Gateway: gate, Objects: thumbnails{s.objects}, Queues: []events.Notifier{n.push, n.webhooks},
			Logger: a.log, Public: c.public(), URLTTL: ttl, StaleAfter: seconds(c.EventStaleSeconds), Now: s.db.Now,
		}),
		videos: videos.New(videos.Config{
			Store: s.db, Objects: videoObjects{s.objects}, Bucket: c.bucket(), Public: c.public(), Logger: a.log, URLTTL: ttl, Now: s.db.Now,
		}),
	}, nil
}

func (t alerts) run(a *app) {
	a.run("events", t.events.Run)
	a.run("videos", t.videos.Run)
	a.run("push", t.push.Run)
	a.run("webhooks", t.webhooks.Run)
}

// vapid returns the key by which push services know this server. It follows
// from the secret that is kept, or that the processes of a cluster share.
func (s secrets) vapid() []byte {
	for i := 0; ; i++ {
		key := s.derive("web push " + strconv.Itoa(i))
		// One key in 2^32 is larger than the order of the curve.
		if _, err := webpush.NewServer(key, projectURL); err == nil {
			return key
		}
	}
}

// pushSubject returns whom push services may turn to.
func (c *Config) pushSubject() string {
	switch {
	case c.PushSubject != "":
		return c.PushSubject
	case strings.HasPrefix(c.BetterAuthBaseURL, "https://"):
		return c.BetterAuthBaseURL
	default:
		return projectURL
	}
}

func (c *Config) validateNotifications() error {
	for name, ms := range map[string]int{
		"PUSH_WORKER_INTERVAL_MS": c.PushWorkerIntervalMS, "RECORDING_WORKER_INTERVAL_MS": c.RecordingWorkerIntervalMS,
	} {
		if ms < 100 || ms > 3600000 {
			return fmt.Errorf("%s is %d: use 100 to 3600000 milliseconds", name, ms)
		}
	}
	if c.PushMaxAttempts < 1 || c.PushMaxAttempts > 100 {
		return fmt.Errorf("PUSH_MAX_ATTEMPTS is %d: use 1 to 100", c.PushMaxAttempts)
	}
	if c.PushSubject != "" && !webpush.ValidSubject(c.PushSubject) {
		return fmt.Errorf("PUSH_SUBJECT is %q: use mailto:you@example.org or an https URL", c.PushSubject)
	}
	_, err := networks("OUTGOING_NETWORKS", c.OutgoingNetworks)
	return err
}
