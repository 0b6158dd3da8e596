package diagnosis

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
)

type streamInput struct {
	ID string `path:"id" maxLength:"64"`
}

type diagnosisOutput struct {
	Body struct {
		StreamID string    `json:"streamId"`
		Findings []Finding `json:"findings" nullable:"false" doc:"The likeliest cause of a missing picture first"`
	}
}

type statisticsOutput struct {
	Body struct {
		StreamID   string      `json:"streamId"`
		Status     string      `json:"status"`
		Media      *MediaFacts `json:"media,omitempty" doc:"Left out where this server does not carry it"`
		Viewer     *Report     `json:"viewer,omitempty" doc:"What the viewer reported last"`
		ReportedAt time.Time   `json:"reportedAt,omitzero"`
	}
}

type reportInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body Report
}

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("streams")
	rest.Register(api, op(http.MethodGet, "/streams/{id}/diagnosis", "Say why there is no picture", auth.Either), s.handleDiagnosis)
	rest.Register(api, op(http.MethodGet, "/streams/{id}/statistics", "Get how a stream is doing", auth.Either), s.handleStatistics)
	report := op(http.MethodPost, "/streams/{id}/statistics", "Report how a stream plays", auth.Device)
	report.DefaultStatus = http.StatusNoContent
	rest.Register(api, report, s.handleReport, ErrNotViewer, ErrNotStreaming, ErrTooOften)
}

func (s *Service) handleDiagnosis(ctx context.Context, in *streamInput) (*diagnosisOutput, error) {
	f, err := s.Facts(ctx, auth.Caller(ctx), in.ID, false)
	if err != nil {
		return nil, err
	}
	out := &diagnosisOutput{}
	out.Body.StreamID, out.Body.Findings = in.ID, Diagnose(f)
	return out, nil
}

func (s *Service) handleStatistics(ctx context.Context, in *streamInput) (*statisticsOutput, error) {
	f, err := s.Facts(ctx, auth.Caller(ctx), in.ID, true)
	if err != nil {
		return nil, err
	}
	out := &statisticsOutput{}
	out.Body.StreamID, out.Body.Status = in.ID, string(f.Stream.Status)
	out.Body.Media, out.Body.Viewer, out.Body.ReportedAt = f.Media, f.Report, f.ReportedAt
	return out, nil
}

func (s *Service) handleReport(ctx context.Context, in *reportInput) (*struct{}, error) {
	return nil, s.Report(ctx, auth.Caller(ctx), in.ID, in.Body)
}
