package ops

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/securecam/securecam/control/rest"
)

// Mount adds /ops/live, /ops/ready and /ops/metrics.
func (s *Service) Mount(app fiber.Router, api huma.API) {
	rest.Register(api, huma.Operation{
		OperationID: "live", Method: http.MethodGet, Path: "/ops/live",
		Summary: "Whether the process answers", Tags: []string{"ops"},
	}, s.live)
	rest.Register(api, huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: "/ops/ready",
		Summary: "Whether everything that the server depends on answers", Tags: []string{"ops"},
		Description: "503 with the same body when something does not. Why it does not is in the log.",
	}, s.ready)
	if s.metrics != nil {
		app.Get("/ops/metrics", adaptor.HTTPHandler(s.metrics))
		rest.Describe(api, &huma.Operation{
			OperationID: "metrics", Method: http.MethodGet, Path: "/ops/metrics",
			Summary: "Counters and gauges for Prometheus", Tags: []string{"ops"},
			Responses: map[string]*huma.Response{"200": {
				Description: "The text format of Prometheus",
				Content:     rest.Content("text/plain"),
			}},
		})
	}
}

const (
	statusOK     = "ok"
	statusFailed = "failed"
)

type liveOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Status string `json:"status" enum:"ok"`
	}
}

func (s *Service) live(context.Context, *struct{}) (*liveOutput, error) {
	out := &liveOutput{CacheControl: "no-store"}
	out.Body.Status = statusOK
	return out, nil
}

type checkView struct {
	Name      string  `json:"name"`
	Status    string  `json:"status" enum:"ok,failed"`
	LatencyMs float64 `json:"latencyMs"`
}

type readyOutput struct {
	Status       int
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Status string      `json:"status" enum:"ok,failed"`
		Checks []checkView `json:"checks" nullable:"false"`
		// Names alone, as of checks: this is public.
		Warnings []string `json:"warnings" nullable:"false" enum:"media_unreachable" doc:"What works, but not for everybody"`
	}
}

func (s *Service) ready(ctx context.Context, _ *struct{}) (*readyOutput, error) {
	out := &readyOutput{Status: http.StatusOK, CacheControl: "no-store"}
	out.Body.Status = statusOK
	out.Body.Warnings = []string{}
	if s.warn != nil {
		out.Body.Warnings = append(out.Body.Warnings, s.warn()...)
	}
	out.Body.Checks = make([]checkView, 0, len(s.checks))
	for _, r := range s.Ready(ctx) {
		view := checkView{Name: r.Name, Status: statusOK, LatencyMs: float64(r.Latency.Microseconds()) / 1000}
		if r.Err != nil {
			view.Status = statusFailed
			out.Status, out.Body.Status = http.StatusServiceUnavailable, statusFailed
		}
		out.Body.Checks = append(out.Body.Checks, view)
	}
	return out, nil
}
