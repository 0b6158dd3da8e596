package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestMetrics reads /ops/metrics of a server with some traffic.
func TestMetrics(t *testing.T) {
	t.Parallel()
	app := startApp(t, append(minioSettings(t), "--login-attempts=1")...)
	user := signUp(t, app.url, "metrics@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	socket := camera.connect()
	stream := startStream(t, camera, socket, client, info.Device.ID)
	publisher := publish(t, camera, stream)
	t.Cleanup(func() { _ = publisher.Vanish() })
	awaitGrowth(t, play(t, client, stream))
	told := `{"framesDecoded":90,"framesDropped":0,"freezeCount":1,"totalFreezesDuration":0.5,"packetsReceived":900,"packetsLost":9,` +
		`"bitrate":500000,"rttMs":20,"jitterMs":3,"firstFrameMs":120,"glassToGlassMs":80}`
	if status, body := client.send("POST", "/streams/"+stream+"/statistics", "application/json", told); status != http.StatusNoContent {
		t.Errorf("how it plays: %d %s", status, body)
	}
	user.raw("GET", "/devices/"+info.Device.ID, nil)
	user.raw("GET", "/nothing/like/that", nil)
	stranger := newBrowser(t, app.url)
	for range 3 { // one is let through
		stranger.raw("POST", "/api/auth/sign-in/email", map[string]string{"email": "metrics@example.org", "password": "wrong horse"})
	}

	// The recorder begins when it is told that somebody publishes.
	var text string
	eventually(t, patience, func() string {
		status, body := user.raw("GET", "/ops/metrics", nil)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		text = string(body)
		for _, line := range []string{
			`securecam_sfu_publishers 1`, `securecam_recorder_running 1`, `securecam_gateway_devices 1`, `securecam_bus_connected 1`,
			`securecam_commands_delivered_total 1`,
			`securecam_playback_reports_total 1`, `securecam_playback_freezes_total 1`,
			`securecam_playback_first_frame_bucket{le="0.15"} 1`, `securecam_playback_glass_to_glass_sum 0.08`,
			`securecam_playback_round_trip_count 1`, `securecam_playback_jitter_sum 0.003`, `securecam_playback_bitrate_sum 500000`,
			`securecam_sfu_unreachable 1`, `securecam_attempt_limits_refused_total 2`,
			`securecam_http_requests_total{method="GET",route="/devices/:id",status="200"} 1`,
		} {
			if !strings.Contains(text, line+"\n") {
				return fmt.Sprintf("%q is missing in\n%s", line, text)
			}
		}
		return ""
	})
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for _, name := range []string{
		"securecam_http_requests_total", "securecam_http_request_seconds", "securecam_gateway_connections",
		"securecam_bus_connected", "securecam_commands_sent_total", "securecam_commands_delivered_total",
		"securecam_revocations_applied_total", "securecam_revocations_late_total",
		"securecam_store_pools_open", "securecam_sfu_packets_out_total",
		"securecam_playback_loss", "securecam_playback_frozen", "securecam_playback_frames_decoded_total",
		"securecam_sfu_camera_loss", "securecam_sfu_camera_jitter", "securecam_sfu_camera_rtt",
		"securecam_sfu_viewer_loss", "securecam_sfu_viewer_jitter", "securecam_sfu_viewer_rtt",
		"securecam_sfu_publishers", "securecam_media_refused_offers_total",
		"securecam_sfu_socket_rejected_total", "securecam_sfu_socket_strangers_total", "securecam_sfu_socket_forged_total",
		"securecam_sfu_socket_early_total", "securecam_sfu_socket_overflowed_total", "securecam_sfu_unbound_total",
		"securecam_sfu_malformed_total", "securecam_sfu_duplicates_total", "securecam_sfu_late_total",
		"securecam_sfu_oversized_total", "securecam_sfu_flooded_total", "securecam_sfu_nacks_unsent_total",
		"securecam_sfu_congestion_watched", "securecam_sfu_congestion_probes_total", "securecam_sfu_viewer_plis_total",
		"securecam_recorder_running", "securecam_recorder_packets_total",
		"securecam_turn_allocations", "securecam_push_queued",
		"securecam_push_sent_total", "securecam_webhooks_dead", "securecam_objects_spool_bytes", "securecam_downloads_open",
		"securecam_erasure_erased_total", "securecam_erasure_failed_total",
		"securecam_request_limits_refused_total", "securecam_request_limits_local_total", "securecam_attempt_limits_uncounted_total",
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	// Ids would make a series for each, and tell strangers who is here.
	if ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-`).FindAllString(text, -1); len(ids) > 0 {
		t.Errorf("ids in the metrics: %v", ids)
	}
}
