package recordings

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/store"
)

const (
	// contentType is what a row says before there is media; the object's own
	// type is what counts.
	contentType = "video/webm"
	// lookTimeout bounds the questions to a database that does not answer, so
	// that they do not hold up the end of a recording.
	lookTimeout = 5 * time.Second
)

// segment is one recording of a media session, while it runs.
type segment struct {
	row     store.Recording
	running Running
}

// session records one media session. It belongs to one goroutine.
type session struct {
	*Service
	id       string
	current  *segment
	previous *segment  // has rolled over, and runs on until the next look
	broken   time.Time // when the last one broke
}

// errOver ends the recording of a media session.
var errOver = errors.New("recordings: media session is over")

// record looks at a media session again and again: whether it is to be
// recorded, and whether its recording is long enough. A database that is away
// for a while changes nothing.
func (s *Service) record(ctx context.Context, mediaSessionID string, stop <-chan struct{}) {
	m := &session{Service: s, id: mediaSessionID}
	tick := time.NewTicker(s.Interval)
	defer tick.Stop()
	for {
		if err := m.look(ctx); errors.Is(err, errOver) {
			break
		} else if err != nil {
			s.Logger.Warn("recording undecided", slog.String("media_session", m.id), slog.Any("err", err))
		}
		select {
		case <-tick.C:
			continue
		case <-stop:
		case <-ctx.Done():
		}
		break
	}
	m.finish(&m.previous)
	m.finish(&m.current)
}

func (m *session) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	m.finish(&m.previous)
	m.check()
	row, wanted, err := m.wanted(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errOver
	case err != nil:
		return err
	case !wanted:
		m.finish(&m.current)
		return nil
	case m.current != nil && row.StartedAt.Sub(m.current.row.StartedAt) < m.SegmentLength:
		return nil
	case m.current == nil && row.StartedAt.Sub(m.broken) < m.RestartPause:
		return nil
	}
	next, err := m.start(ctx, row)
	if errors.Is(err, store.ErrNoStorage) {
		m.finish(&m.current) // it has been going on for long enough
		m.broken = row.StartedAt
	}
	if err != nil {
		return err
	}
	// The old one goes on until the next look, by which time the new one has
	// its first keyframe: nothing is missing between them.
	m.previous, m.current = m.current, next
	return nil
}

// check completes the current segment if it has broken.
func (m *session) check() {
	if m.current == nil {
		return
	}
	b, ok := m.current.running.(Breakable)
	if !ok {
		return
	}
	err := b.Err()
	if err == nil {
		return
	}
	if !errors.Is(err, ErrInterrupted) {
		m.broken = m.now()
	}
	m.finish(&m.current)
}

// wanted returns the row of a recording that would start now, and whether the
// camera's policy wants one.
func (m *session) wanted(ctx context.Context) (store.Recording, bool, error) {
	media, err := m.Store.MediaSession(ctx, m.id)
	if err != nil {
		return store.Recording{}, false, err
	}
	camera, err := m.Store.DeviceByID(ctx, media.CameraDeviceID)
	if err != nil {
		return store.Recording{}, false, err
	}
	if camera.RecordingPolicy == store.RecordOff || !media.EndedAt.IsZero() {
		return store.Recording{}, false, nil
	}
	watcher, err := m.Store.FirstWatcher(ctx, media.ID)
	watched := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Recording{}, false, err
	}
	at := m.now()
	id := store.NewID()
	return store.Recording{
		ID: id, OwnerUserID: media.OwnerUserID, CameraDeviceID: camera.ID,
		RequesterDeviceID: watcher.RequesterDeviceID, StreamID: watcher.ID, MediaSessionID: media.ID,
		NodeID: m.NodeID, Status: store.RecordingRunning, Bucket: m.Bucket, ContentType: contentType,
		ObjectKey: "recordings/" + camera.ID + "/" + id + ".webm",
		StartedAt: at, CreatedAt: at, UpdatedAt: at,
	}, watched || camera.RecordingPolicy == store.RecordContinuous, nil
}

// start makes the row and then records, so that no object is without a row.
func (m *session) start(ctx context.Context, row store.Recording) (*segment, error) {
	if err := m.Store.CreateRecording(ctx, row, store.Actor{}); err != nil {
		return nil, err
	}
	running, err := m.Recorder.Start(ctx, m.id, row.ObjectKey)
	if err != nil {
		m.spawn(func(ctx context.Context) { m.fail(ctx, row, reasonNotStarted) })
		m.Logger.Warn("recording not started", attrs(row, slog.Any("err", err))...)
		return nil, errOver // the media session is gone from the SFU
	}
	m.Logger.Info("recording started", attrs(row)...)
	return &segment{row: row, running: running}, nil
}

// finish completes a segment in the background: the object store may take its
// time, and the next segment must not wait.
func (m *session) finish(s **segment) {
	done := *s
	*s = nil
	if done == nil {
		return
	}
	m.spawn(func(ctx context.Context) {
		result, err := done.running.Stop(ctx)
		m.settle(ctx, done.row, result, err)
	})
}

func attrs(row store.Recording, more ...any) []any {
	return append([]any{
		slog.String("recording", row.ID), slog.String("media_session", row.MediaSessionID),
		slog.String("device", row.CameraDeviceID),
	}, more...)
}
