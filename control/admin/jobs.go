package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

var (
	errNotDead = fault.New(fault.Conflict, "job_not_failed",
		"That has not failed, or somebody has taken it up again: only a dead letter can be tried again, or deleted.")
	errNoUse = fault.New(fault.Conflict, "job_not_possible",
		"That cannot be tried again: it was taken back, what it was for is over, or its devices are not linked or there any more.")
)

// Job is queued work.
type Job struct {
	ID            string    `json:"id"`
	UserID        string    `json:"userId"`
	TargetID      string    `json:"targetId" doc:"The device or the webhook that it is for; of an upload, the camera it is from"`
	TargetName    string    `json:"targetName"`
	Type          string    `json:"type"`
	Status        string    `json:"status" enum:"queued,sent,failed,acknowledged,rejected,awaiting_upload,ready"`
	Attempts      int       `json:"attempts"`
	Error         string    `json:"error,omitempty"`
	Dead          bool      `json:"dead" doc:"A dead letter: it can be tried again"`
	AwaitsDevice  bool      `json:"awaitsDevice" doc:"Its device must connect, or upload, before anything comes of it"`
	NextAttemptAt time.Time `json:"nextAttemptAt,omitzero"`
	FailsAt       time.Time `json:"failsAt,omitzero" doc:"When it is given up, unless it succeeds before"`
	CreatedAt     time.Time `json:"createdAt"`
}

// toJob says of a job of a queue what its row and its worker know.
func (s *Service) toJob(queue string) func(store.Job) Job {
	return func(j store.Job) Job {
		job := Job{
			ID: j.ID, UserID: j.OwnerUserID, TargetID: j.Target, TargetName: j.TargetName, Type: j.Type, Status: j.Status, Attempts: j.Attempts,
			Error: j.Error, Dead: j.Dead, AwaitsDevice: j.Absent, CreatedAt: j.CreatedAt,
		}
		switch {
		case queue == store.QueueCommands:
			job.NextAttemptAt, job.FailsAt = s.cfg.Commands.Due(j)
		case queue == store.QueueUploads && j.Absent:
			job.FailsAt = s.cfg.Recordings.GivenUp(j.UpdatedAt)
		case j.Status == string(store.WorkQueued):
			job.NextAttemptAt = j.NextAttemptAt
		}
		if j.Absent {
			job.NextAttemptAt = time.Time{}
		}
		return job
	}
}

type jobsInput struct {
	rest.PageQuery
	Queue  string `path:"queue" enum:"pushes,webhook-deliveries,commands,uploads"`
	Status string `query:"status" enum:"queued,sent,failed,acknowledged,rejected,awaiting_upload,ready"`
}

type jobsOutput struct{ Body rest.List[Job] }

type jobInput struct {
	Queue string `path:"queue" enum:"pushes,webhook-deliveries,commands,uploads"`
	ID    string `path:"id" maxLength:"64"`
}

func (s *Service) mountJobs(api huma.API) {
	rest.Register(api, s.operation(http.MethodGet, "/jobs/{queue}", "List queued work, newest first"), s.jobs)
	retry := s.operation(http.MethodPost, "/jobs/{queue}/{id}/retry", "Queue a dead letter again")
	retry.DefaultStatus = http.StatusNoContent
	rest.Register(api, retry, s.retryJob, errNotDead, errNoUse, rest.ErrLimitReached)
	remove := s.operation(http.MethodDelete, "/jobs/{queue}/{id}", "Delete what has failed")
	remove.DefaultStatus = http.StatusNoContent
	rest.Register(api, remove, s.deleteJob, errNotDead)
}

func (s *Service) jobs(ctx context.Context, in *jobsInput) (*jobsOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.cfg.Store.AllJobs(ctx, in.Queue, in.Status, page)
	if err != nil {
		return nil, err
	}
	return &jobsOutput{Body: rest.ListOf(in.PageQuery, rows, s.toJob(in.Queue), func(j store.Job) store.Cursor {
		return store.Cursor{CreatedAt: j.CreatedAt, ID: j.ID}
	})}, nil
}

// failedJob returns a job that has failed, whoever owns it. Its owner may do
// something about it at any time.
func (s *Service) failedJob(ctx context.Context, in *jobInput) (store.Job, error) {
	job, err := s.cfg.Store.Job(ctx, in.Queue, in.ID)
	if err == nil && job.Status != string(store.WorkFailed) {
		err = errNotDead
	}
	return job, err
}

// retryJob queues a dead letter again.
func (s *Service) retryJob(ctx context.Context, in *jobInput) (*struct{}, error) {
	job, err := s.failedJob(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.retry(ctx, in.Queue, job)
	var refused *fault.Error
	if !errors.As(err, &refused) || refused.Kind != fault.Conflict && refused.Kind != fault.Forbidden {
		return nil, err
	}
	if _, now := s.failedJob(ctx, in); now != nil { // somebody was faster
		return nil, now
	}
	return nil, errNoUse.With(err)
}

// retry queues a dead letter again.
func (s *Service) retry(ctx context.Context, queue string, j store.Job) (err error) {
	if !j.Dead {
		return errNoUse
	}
	owner := s.as(ctx, j.OwnerUserID)
	switch queue {
	case store.QueuePushes:
		_, err = s.cfg.Pushes.Retry(ctx, owner, j.ID)
	case store.QueueDeliveries:
		_, err = s.cfg.Webhooks.Replay(ctx, owner, j.Target, j.ID)
	case store.QueueCommands:
		_, err = s.cfg.Commands.Retry(ctx, owner, j.ID)
	case store.QueueUploads:
		_, err = s.cfg.Recordings.Await(ctx, owner, j.ID)
	}
	return err
}

// deleteJob deletes what has failed.
func (s *Service) deleteJob(ctx context.Context, in *jobInput) (*struct{}, error) {
	job, err := s.failedJob(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.DeleteFailedJob(ctx, in.Queue, job, s.as(ctx, job.OwnerUserID).Actor())
	if errors.Is(err, store.ErrConflict) {
		return nil, errNotDead.With(err)
	}
	return nil, err
}
