package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/securecam/securecam/control/metrics"
)

type latency struct{}

func (latency) Histogram() (bounds []float64, counts []uint64, sum float64) {
	return []float64{.1, 1}, []uint64{5, 3, 2}, 7.5
}

type pool struct {
	Open int
	Wait time.Duration `help:"How long callers waited."`
}

// Counters is embedded, so its name does not show.
type Counters struct {
	PacketsIn uint64
	NACKs     uint64
}

type snapshot struct {
	Counters
	Viewers   int
	Connected bool
	Load      float64
	RTTs      latency
	Pools     map[string]pool   `label:"pool"`
	ByCode    map[string]uint64 `label:"code" help:"Refused."`
	Since     time.Time
	Err       error
	hidden    int
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Source{Name: "test", Snapshot: func() any {
		return snapshot{
			Counters: Counters{PacketsIn: 7, NACKs: 2}, Viewers: 3, Connected: true, Load: .5, hidden: 1,
			Pools:  map[string]pool{"r": {Open: 4, Wait: 1500 * time.Millisecond}, "w": {Open: 1}},
			ByCode: map[string]uint64{"429": 9},
		}
	}})
	const want = `
# HELP securecam_test_by_code_total Refused.
# TYPE securecam_test_by_code_total counter
securecam_test_by_code_total{code="429"} 9
# HELP securecam_test_connected test: connected
# TYPE securecam_test_connected gauge
securecam_test_connected 1
# HELP securecam_test_load test: load
# TYPE securecam_test_load gauge
securecam_test_load 0.5
# HELP securecam_test_nacks_total test: nacks
# TYPE securecam_test_nacks_total counter
securecam_test_nacks_total 2
# HELP securecam_test_packets_in_total test: packets in
# TYPE securecam_test_packets_in_total counter
securecam_test_packets_in_total 7
# HELP securecam_test_pools_open test: pools: open
# TYPE securecam_test_pools_open gauge
securecam_test_pools_open{pool="r"} 4
securecam_test_pools_open{pool="w"} 1
# HELP securecam_test_pools_wait_seconds How long callers waited.
# TYPE securecam_test_pools_wait_seconds gauge
securecam_test_pools_wait_seconds{pool="r"} 1.5
securecam_test_pools_wait_seconds{pool="w"} 0
# HELP securecam_test_rtts test: rtts
# TYPE securecam_test_rtts histogram
securecam_test_rtts_bucket{le="0.1"} 5
securecam_test_rtts_bucket{le="1"} 8
securecam_test_rtts_bucket{le="+Inf"} 10
securecam_test_rtts_sum 7.5
securecam_test_rtts_count 10
# HELP securecam_test_viewers test: viewers
# TYPE securecam_test_viewers gauge
securecam_test_viewers 3
`
	names := []string{
		"securecam_test_by_code_total", "securecam_test_connected", "securecam_test_load", "securecam_test_nacks_total",
		"securecam_test_packets_in_total", "securecam_test_pools_open", "securecam_test_pools_wait_seconds", "securecam_test_rtts",
		"securecam_test_viewers",
	}
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(m.Gatherer(), names...); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	m.Observe(http.MethodGet, "/devices/:id", 200, 3*time.Millisecond)
	m.Observe(http.MethodGet, "/devices/:id", 404, time.Millisecond)
	m.Observe("BREW", "", 999, time.Millisecond)
	response := httptest.NewRecorder()
	m.Handler().ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/ops/metrics", nil))
	for _, line := range []string{
		`securecam_http_requests_total{method="GET",route="/devices/:id",status="404"} 1`,
		`securecam_http_requests_total{method="other",route="none",status="other"} 1`,
		`securecam_http_request_seconds_bucket{route="/devices/:id",le="0.005"} 2`,
		"go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(response.Body.String(), line) {
			t.Errorf("%s is missing", line)
		}
	}
}

func TestKept(t *testing.T) {
	t.Parallel()
	var (
		taken atomic.Int32
		clock atomic.Int64
	)
	entered, leave := make(chan struct{}, 99), make(chan struct{})
	snapshot := metrics.Kept(time.Minute, func() time.Time { return time.Unix(clock.Load(), 0) }, func() any {
		entered <- struct{}{}
		<-leave
		if n := taken.Add(1); n != 2 { // the second one fails
			return n
		}
		return nil
	})
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if got := snapshot(); got != int32(1) {
				t.Errorf("got %v, want the first", got)
			}
		})
	}
	<-entered
	close(leave)
	wait.Wait()
	for _, round := range []struct {
		at   int64
		want any
	}{{59, int32(1)}, {60, nil}, {119, nil}, {120, int32(3)}} {
		clock.Store(round.at)
		if got := snapshot(); got != round.want {
			t.Errorf("after %d s: %v, want %v", round.at, got, round.want)
		}
	}
	if n := taken.Load(); n != 3 {
		t.Errorf("taken %d times, want 3", n)
	}
}
