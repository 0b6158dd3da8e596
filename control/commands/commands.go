// Package commands carries instructions from client devices to camera devices
// and their answers back.
//
// A command is a row first; the gateway then delivers it, at once or when the
// camera connects, at least once until the camera has answered.
package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// Store is what commands needs from the database.
type Store interface {
	Device(ctx context.Context, userID, id string) (store.Device, error)
	ActiveLink(ctx context.Context, cameraID, clientID string) (store.Link, error)
	CreateCommand(ctx context.Context, c store.Command, by store.Actor) error
	Command(ctx context.Context, userID, id string) (store.Command, error)
	Commands(ctx context.Context, userID, deviceID string, p store.Page) ([]store.Command, error)
	PendingCommands(ctx context.Context, targetDeviceID string, limit int) ([]store.Command, error)
	MarkCommandSent(ctx context.Context, id string, at time.Time) error
	AckCommand(ctx context.Context, targetDeviceID, id string, to store.CommandStatus, result json.RawMessage,
		errText string, at time.Time, by store.Actor) (store.Command, error)
}

// Gateway carries events to and from devices.
type Gateway interface {
	Send(ctx context.Context, deviceID, event string, data any) (delivered bool, err error)
	Handle(event string, h gateway.Handler)
	OnConnect(hook func(ctx context.Context, deviceID string))
}

// Config holds what commands needs.
type Config struct {
	Store   Store
	Gateway Gateway
	Logger  *slog.Logger     // may be nil
	Now     func() time.Time // time.Now if nil
}

// Service is the feature.
type Service struct {
	cfg Config
	log *slog.Logger
}

const (
	maxJSON = 8 << 10 // payload and result each
	// maxBacklog bounds what one connection gets at once, oldest first; it
	// fits into the gateway's queue. More is left for the next connection.
	maxBacklog = 50
)

var (
	// ErrWrongRole reports a command that is not from a client to a camera.
	ErrWrongRole = fault.New(fault.Forbidden, "wrong_role", "Only clients send commands, and only to cameras.")
	// ErrNotLinked reports devices without an active link.
	ErrNotLinked = fault.New(fault.Forbidden, "not_linked", "These devices are not linked.")
	// ErrNoSource reports a user's command without the device it comes from.
	ErrNoSource = fault.New(fault.Unprocessable, "source_required", "Say which of your devices sends the command: sourceDeviceId.")
	// ErrBadJSON reports a payload that is not an object, or too large.
	ErrBadJSON = fault.New(fault.Unprocessable, "invalid_payload", "A payload is a JSON object, a result any JSON; both have at most 8 KiB.")
	// ErrBadAck reports an answer that is neither yes nor no, or too long.
	ErrBadAck = fault.New(fault.Unprocessable, "invalid_ack", "A command is acknowledged or rejected, with an error of at most 1000 bytes.")
	// ErrEnded reports a second answer.
	ErrEnded = fault.New(fault.Conflict, "command_ended", "That command has been answered already.")
)

// New returns the feature and registers what it does on the gateway.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{cfg: cfg, log: cfg.Logger}
	cfg.Gateway.Handle(eventAck, s.handleAckEvent)
	cfg.Gateway.OnConnect(s.deliverPending)
	return s
}

// Request is a command to be sent.
type Request struct {
	SourceDeviceID string // may be empty when a device asks
	TargetDeviceID string
	CommandType    string
	Payload        json.RawMessage // nil means {}
}

// Send stores a command and delivers it when its camera is connected. The
// result says whether it was: queued or sent.
func (s *Service) Send(ctx context.Context, p auth.Principal, r Request) (store.Command, error) {
	payload, err := compact(r.Payload)
	if err != nil || payload[0] != '{' {
		return store.Command{}, ErrBadJSON
	}
	source, err := s.source(p, r.SourceDeviceID)
	if err != nil {
		return store.Command{}, err
	}
	if err := s.permit(ctx, p, source, r.TargetDeviceID); err != nil {
		return store.Command{}, err
	}
	now := s.now()
	c := store.Command{
		ID: uuid.Must(uuid.NewV7()).String(), OwnerUserID: p.UserID,
		SourceDeviceID: source, TargetDeviceID: r.TargetDeviceID,
		CommandType: r.CommandType, Payload: payload,
		Status: store.CommandQueued, CreatedAt: now, UpdatedAt: now,
	}
	if err := s.cfg.Store.CreateCommand(ctx, c, p.Actor()); err != nil {
		return store.Command{}, err
	}
	return s.dispatch(ctx, c), nil
}

// source returns the device that a command comes from.
func (s *Service) source(p auth.Principal, wanted string) (string, error) {
	switch {
	case p.DeviceID == "" && wanted == "":
		return "", ErrNoSource
	case p.DeviceID == "":
		return wanted, nil
	case wanted != "" && wanted != p.DeviceID:
		return "", auth.ErrForbidden
	default:
		return p.DeviceID, nil
	}
}

// permit allows linked clients to command cameras.
func (s *Service) permit(ctx context.Context, p auth.Principal, sourceID, targetID string) error {
	source, err := s.cfg.Store.Device(ctx, p.UserID, sourceID)
	if err != nil {
		return err
	}
	target, err := s.cfg.Store.Device(ctx, p.UserID, targetID)
	if err != nil {
		return err
	}
	if source.Role != store.RoleClient || target.Role != store.RoleCamera {
		return ErrWrongRole
	}
	_, err = s.cfg.Store.ActiveLink(ctx, targetID, sourceID)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotLinked.With(err)
	}
	return err
}

// Command returns a command of p's user; to a device only its own.
func (s *Service) Command(ctx context.Context, p auth.Principal, id string) (store.Command, error) {
	c, err := s.cfg.Store.Command(ctx, p.UserID, id)
	if err != nil {
		return store.Command{}, err
	}
	if p.DeviceID != "" && p.DeviceID != c.SourceDeviceID && p.DeviceID != c.TargetDeviceID {
		return store.Command{}, store.ErrNotFound
	}
	return c, nil
}

// Commands lists the commands of p's user, to a device only its own.
func (s *Service) Commands(ctx context.Context, p auth.Principal, page store.Page) ([]store.Command, error) {
	return s.cfg.Store.Commands(ctx, p.UserID, p.DeviceID, page)
}

// Answer is what a camera says to a command.
type Answer struct {
	Status store.CommandStatus // acknowledged or rejected
	Result json.RawMessage     // may be nil
	Error  string
}

const maxErrorText = 1000

// Ack records the answer of the command's target, once, and tells the source.
func (s *Service) Ack(ctx context.Context, p auth.Principal, id string, a Answer) (store.Command, error) {
	if a.Status != store.CommandAcknowledged && a.Status != store.CommandRejected || len(a.Error) > maxErrorText {
		return store.Command{}, ErrBadAck
	}
	var result json.RawMessage
	if a.Result != nil {
		var err error
		if result, err = compact(a.Result); err != nil {
			return store.Command{}, err
		}
	}
	c, err := s.cfg.Store.AckCommand(ctx, p.DeviceID, id, a.Status, result, a.Error, s.now(), p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Command{}, ErrEnded.With(err)
	}
	if err != nil {
		return store.Command{}, err
	}
	s.tellSource(ctx, c)
	return c, nil
}

// Dispatch delivers a command whose row is committed, when its camera is
// connected to any node. Otherwise the row waits for the camera.
func (s *Service) Dispatch(ctx context.Context, c store.Command) { s.dispatch(ctx, c) }

// dispatch returns the command as it is afterwards.
func (s *Service) dispatch(ctx context.Context, c store.Command) store.Command {
	delivered, err := s.cfg.Gateway.Send(ctx, c.TargetDeviceID, eventReceived, toCommand(c))
	if err != nil {
		s.log.Warn("command not delivered", slog.String("command", c.ID), slog.Any("err", err))
	}
	if !delivered {
		return c
	}
	at := s.now()
	switch err := s.cfg.Store.MarkCommandSent(ctx, c.ID, at); {
	case err == nil:
		if c.Status == store.CommandSent {
			c.RetryCount++
		}
		c.Status, c.SentAt = store.CommandSent, at
	case errors.Is(err, store.ErrConflict): // the camera was faster
		if answered, err := s.cfg.Store.Command(ctx, c.OwnerUserID, c.ID); err == nil {
			return answered
		}
	default:
		s.log.Warn("command not marked as sent", slog.String("command", c.ID), slog.Any("err", err))
	}
	return c
}

// deliverPending gives a device that has connected what it has not answered.
func (s *Service) deliverPending(ctx context.Context, deviceID string) {
	pending, err := s.cfg.Store.PendingCommands(ctx, deviceID, maxBacklog)
	if err != nil {
		s.log.Error("pending commands not read", slog.String("device", deviceID), slog.Any("err", err))
		return
	}
	for _, c := range pending {
		after := s.dispatch(ctx, c)
		if after.Status == c.Status && after.RetryCount == c.RetryCount {
			return // gone again
		}
		if c.Status == store.CommandQueued && after.Status == store.CommandSent {
			s.tellSource(ctx, after)
		}
	}
}

// tellSource reports a command's new status to the device that sent it. When
// that is away, it reads the status when it is back.
func (s *Service) tellSource(ctx context.Context, c store.Command) {
	if _, err := s.cfg.Gateway.Send(ctx, c.SourceDeviceID, eventStatus, toCommand(c)); err != nil {
		s.log.Warn("command status not sent", slog.String("command", c.ID), slog.Any("err", err))
	}
}

// compact returns v without blanks, {} for nothing.
func compact(v json.RawMessage) (json.RawMessage, error) {
	if len(bytes.TrimSpace(v)) == 0 {
		return json.RawMessage("{}"), nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, v); err != nil || b.Len() > maxJSON {
		return nil, ErrBadJSON
	}
	return b.Bytes(), nil
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
