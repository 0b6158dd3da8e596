package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/securecam/securecam/control/recordings"
	"github.com/securecam/securecam/recorder"
	"github.com/securecam/securecam/sfu"
	"github.com/securecam/securecam/store/blob"
)

// tapRecorder records media sessions of the SFU into the object store.
type tapRecorder struct {
	sfu     *sfu.SFU
	objects recordingObjects
	totals  *recorder.Totals
	log     logger
}

func (r tapRecorder) Start(ctx context.Context, mediaSession, key string) (recordings.Running, error) {
	rec, err := recorder.Start(ctx, recorder.Config{Objects: r.objects, Key: key, Totals: r.totals, Logger: r.log})
	if err != nil {
		return nil, err
	}
	tap := &recordingTap{recording: rec, log: r.log}
	detach, err := r.sfu.Tap(mediaSession, tap)
	if err != nil {
		_, closeErr := rec.Close(ctx)
		return nil, errors.Join(err, closeErr)
	}
	return runningRecording{rec, tap, detach}, nil
}

func (r tapRecorder) Recover(ctx context.Context, key string) (recordings.Result, error) {
	result, err := recorder.Recover(ctx, r.objects, key, r.log)
	return recordings.Result(result), err
}

// recordingTap feeds the tracks of a media session into its recording.
type recordingTap struct {
	recording *recorder.Recording
	log       logger
	detached  atomic.Bool
}

// Detached hears that the media session has ended, or goes on with other
// codecs, which need a file of their own.
func (t *recordingTap) Detached(string) { t.detached.Store(true) }

func (t *recordingTap) Track(i sfu.TrackInfo) sfu.Sink {
	w, err := t.recording.AddTrack(recorder.Track{
		ID: i.ID, MimeType: i.MimeType, ClockRate: i.ClockRate, Channels: i.Channels, RequestKeyframe: i.RequestKeyframe,
	})
	if err != nil {
		t.log.Warn("track not recorded", slog.String("track", i.ID), slog.String("codec", i.MimeType), slog.Any("err", err))
		return nil
	}
	return w
}

type runningRecording struct {
	recording *recorder.Recording
	tap       *recordingTap
	detach    func()
}

func (r runningRecording) Stop(ctx context.Context) (recordings.Result, error) {
	r.detach()
	result, err := r.recording.Close(ctx)
	return recordings.Result(result), err
}

// Err returns why the recording has stopped by itself, nil while it goes on.
func (r runningRecording) Err() error {
	if r.tap.detached.Load() {
		return recordings.ErrInterrupted
	}
	return r.recording.Stats().Err
}

// recordingObjects is the object store as the recorder sees it.
type recordingObjects struct{ blob.Store }

func (o recordingObjects) Create(ctx context.Context, key, contentType string) (recorder.Object, error) {
	return o.Store.Create(ctx, key, contentType)
}

func (o recordingObjects) Resume(ctx context.Context, key string) (recorder.Object, error) {
	return o.Store.Resume(ctx, key)
}
