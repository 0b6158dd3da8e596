// Package commands carries instructions from client devices to camera devices
// and their answers back.
//
// A command is a row first; the gateway then delivers it, at once or when the
// camera connects, and again until the camera has answered. One that is not
// answered in the end has failed.
package commands

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// Rows are the commands in the database.
type Rows interface {
	CreateCommand(ctx context.Context, c store.Command, by store.Actor) error
	Command(ctx context.Context, userID, id string) (store.Command, error)
	Commands(ctx context.Context, userID string, by store.CommandFilter, p store.Page) ([]store.Command, error)
	CancelCommand(ctx context.Context, userID, id string, at time.Time, by store.Actor) (store.Command, error)
	AckCommand(ctx context.Context, targetDeviceID, id string, to store.CommandStatus, result json.RawMessage,
		errText string, at time.Time, by store.Actor) (store.Command, error)
	RetryCommand(ctx context.Context, userID, id string, at time.Time, by store.Actor) (store.Command, error)
	DeleteCommand(ctx context.Context, userID, id string, by store.Actor) error
	AppendCommandEvent(ctx context.Context, c store.Command, deviceID string, e store.DeviceEvent, keep int) (seq int64, err error)
}

// Queue is the commands that are not answered.
type Queue interface {
	ClaimPendingCommands(ctx context.Context, targetDeviceID string, limit int, at time.Time) ([]store.Command, error)
	MarkCommandSent(ctx context.Context, id string, attempt int64, at time.Time) error
	ClaimCommands(ctx context.Context, c store.CommandClaim) ([]store.Command, error)
	ExpireCommands(ctx context.Context, e store.CommandExpiry) ([]store.Command, error)
}

// Devices reads devices.
type Devices interface {
	Device(ctx context.Context, userID, id string) (store.Device, error)
}

// Store is what commands needs from the database.
type Store interface {
	Rows
	Queue
	Devices
}

// Gateway carries events to and from devices.
type Gateway interface {
	SendNews(ctx context.Context, deviceID, event string, data any, add gateway.Append) (delivered bool, err error)
	Relay(ctx context.Context, deviceID, event string, data any) (delivered bool, err error)
	Handle(event string, h gateway.Handler)
	OnConnect(hook func(ctx context.Context, deviceID string) (ready func(context.Context)))
}

// Config holds what commands needs. Every period has a default.
type Config struct {
	Store   Store
	Gateway Gateway
	Logger  *slog.Logger     // may be nil
	Now     func() time.Time // time.Now if nil

	// AckTimeout is how long a camera may take to answer before it gets a
	// command again. Default 10 s.
	AckTimeout time.Duration
	// Again is how long it may take after that, before it gets it once more.
	// Default 5 s.
	Again time.Duration
	// Retries is how often it gets it again before the command fails, AckTimeout
	// after the last time. Default 3.
	Retries int
	// Deadline fails a command that is not answered, whether it was sent or
	// not. Default 10 min.
	Deadline time.Duration
	// Interval is how often Run looks for such commands. Default 5 s.
	Interval time.Duration
	// CommandsPerTick bounds how many it then sends, and fails. Default 256.
	CommandsPerTick int
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.AckTimeout = cmp.Or(c.AckTimeout, 10*time.Second)
	c.Again = cmp.Or(c.Again, min(c.AckTimeout, 5*time.Second))
	c.Retries = cmp.Or(c.Retries, 3)
	c.Deadline = cmp.Or(c.Deadline, 10*time.Minute)
	c.Interval = cmp.Or(c.Interval, 5*time.Second)
	c.CommandsPerTick = cmp.Or(c.CommandsPerTick, 256)
	return c
}

// Service is the feature. It is safe for concurrent use.
type Service struct {
	cfg     Config
	log     *slog.Logger
	failing bool // belongs to Run

	counters
}

const (
	maxJSON = 8 << 10 // payload and result each
	// maxBacklog bounds what one device gets at once; it fits into the
	// gateway's queue. Run sends the rest.
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
	// ErrNotDead reports a wish to repeat what was not in vain.
	ErrNotDead = fault.New(fault.Conflict, "command_not_failed",
		"Only a command that nobody answered can be sent again, and only while the stream that it asked for is requested.")
	// ErrPending reports a wish to delete what goes on.
	ErrPending = fault.New(fault.Conflict, "command_pending", "This command has not ended. Cancel it first.")
	// ErrEnded reports a second answer.
	ErrEnded = fault.New(fault.Conflict, "command_ended", "That command has been answered, or has failed, already.")
)

// New returns the feature and registers what it does on the gateway; the
// caller runs its Run.
func New(cfg Config) *Service {
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, log: cfg.Logger}
	cfg.Gateway.Handle(eventAck, s.handleAckEvent)
	cfg.Gateway.OnConnect(s.claimPending)
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
		ID: store.NewID(), OwnerUserID: p.UserID,
		SourceDeviceID: source, TargetDeviceID: r.TargetDeviceID,
		CommandType: r.CommandType, Payload: payload,
		Status: store.CommandQueued, CreatedAt: now, UpdatedAt: now,
	}
	err = s.cfg.Store.CreateCommand(ctx, c, p.Actor())
	if errors.Is(err, store.ErrNotFound) { // both devices exist, so it is the link that does not
		return store.Command{}, ErrNotLinked.With(err)
	}
	if err != nil {
		return store.Command{}, err
	}
	s.sent.Add(1)
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

// permit allows clients to command cameras; that the two are linked is for the
// store to see, in the transaction that makes the command.
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
	return nil
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
func (s *Service) Commands(
	ctx context.Context, p auth.Principal, by store.CommandFilter, page store.Page,
) ([]store.Command, error) {
	if p.DeviceID != "" {
		by.DeviceIDs = append([]string{p.DeviceID}, by.DeviceIDs...)
	}
	return s.cfg.Store.Commands(ctx, p.UserID, by, page)
}

// Cancel fails a command that is not answered, on behalf of its source or its
// user, and tells both devices. The camera may have begun with it.
func (s *Service) Cancel(ctx context.Context, p auth.Principal, id string) (store.Command, error) {
	if err := s.mine(ctx, p, id); err != nil { // its target rejects it
		return store.Command{}, err
	}
	c, err := s.cfg.Store.CancelCommand(ctx, p.UserID, id, s.now(), p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Command{}, ErrEnded.With(err)
	}
	if err != nil {
		return store.Command{}, err
	}
	if _, err := s.cfg.Gateway.Relay(ctx, c.TargetDeviceID, eventCancelled, toCommand(c)); err != nil {
		s.log.Warn("cancellation not sent", slog.String("command", c.ID), slog.Any("err", err))
	}
	s.tellSource(ctx, c)
	return c, nil
}

// Retry sends a command once more that nobody answered, as if it were new, on
// behalf of its source or its user.
func (s *Service) Retry(ctx context.Context, p auth.Principal, id string) (store.Command, error) {
	if err := s.mine(ctx, p, id); err != nil {
		return store.Command{}, err
	}
	c, err := s.cfg.Store.RetryCommand(ctx, p.UserID, id, s.now(), p.Actor())
	switch {
	case errors.Is(err, store.ErrConflict):
		return store.Command{}, ErrNotDead.With(err)
	case errors.Is(err, store.ErrNotFound): // it is there, so it is the link that is not
		return store.Command{}, ErrNotLinked.With(err)
	case err != nil:
		return store.Command{}, err
	}
	// In this order: a camera may answer while it is still being sent to, and
	// its answer is the last that the source hears.
	s.tellSource(ctx, c)
	after := s.dispatch(ctx, c)
	if newlySent(c, after) {
		s.tellSource(ctx, after)
	}
	return after, nil
}

// Delete deletes a command that has ended, on behalf of its source or its user.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id string) error {
	if err := s.mine(ctx, p, id); err != nil {
		return err
	}
	err := s.cfg.Store.DeleteCommand(ctx, p.UserID, id, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return ErrPending.With(err)
	}
	return err
}

// mine allows p's user, and the device that sent the command.
func (s *Service) mine(ctx context.Context, p auth.Principal, id string) error {
	c, err := s.Command(ctx, p, id)
	if err == nil && p.DeviceID != "" && p.DeviceID != c.SourceDeviceID {
		err = auth.ErrForbidden
	}
	return err
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
	if a.Status == store.CommandRejected {
		s.rejected.Add(1)
	} else {
		s.acknowledged.Add(1)
	}
	s.tellSource(ctx, c)
	return c, nil
}

// tellSource reports a command's new status to the device that sent it. When
// that is away, it reads the status when it is back.
func (s *Service) tellSource(ctx context.Context, c store.Command) {
	if err := s.tell(ctx, c); err != nil {
		s.log.Warn("command status not sent", slog.String("command", c.ID), slog.Any("err", err))
	}
}

// tell is tellSource with what went wrong. A status that another has followed is
// not told any more.
func (s *Service) tell(ctx context.Context, c store.Command) error {
	add := func(ctx context.Context, deviceID string, e store.DeviceEvent, keep int) (seq int64, err error) {
		return s.cfg.Store.AppendCommandEvent(ctx, c, deviceID, e, keep)
	}
	_, err := s.cfg.Gateway.SendNews(ctx, c.SourceDeviceID, eventStatus, toCommand(c), add)
	return err
}

// TellEnded tells the sources of commands that ended with something else, which
// is committed, what became of them. It is for store.DB.OnCommandsEnded.
func (s *Service) TellEnded(ctx context.Context, ended []store.Command) {
	telling, cancel := gateway.Telling(ctx)
	defer cancel()
	telling, done := context.WithTimeout(telling, tellTimeout)
	defer done()
	var failed error
	for _, c := range ended {
		failed = cmp.Or(failed, s.tell(telling, c))
	}
	if failed != nil {
		s.log.Warn("ends of commands not sent", slog.Int("count", len(ended)), slog.Any("err", failed))
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
