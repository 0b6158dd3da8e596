package sfu

import (
	"slices"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/webrtc/v4"
)

// TestSeats holds that one viewer cannot take all seats of the node: its oldest sessions make room for its new ones.
func TestSeats(t *testing.T) {
	t.Parallel()
	const maxSessions = 4
	s := newSFU(t, func(c *Config) { c.MaxViewers, c.MaxViewerSessions = 2*maxSessions, maxSessions })
	publishCamera(t, s, "m", vp8)
	pc := offerPlay(t, []kind{video}, vp8)
	offer := makeOffer(t, pc)
	var last Answer
	for range 4 * maxSessions {
		a, err := s.Play(t.Context(), "m", "greedy", NoPreference(), offer)
		if err != nil {
			t.Fatal(err)
		}
		last = a
	}
	if st, _ := s.Status("m"); st.Viewers["greedy"] != maxSessions {
		t.Errorf("%d sessions of one viewer, want %d", st.Viewers["greedy"], maxSessions)
	}
	if _, err := s.Play(t.Context(), "m", "modest", NoPreference(), offer); err != nil {
		t.Errorf("no seat is left for another viewer: %v", err)
	}
	if err := s.Close(last.SessionID, "done"); err != nil {
		t.Errorf("the newest session is gone: %v", err)
	}
}

// TestWithoutGCM holds that a viewer which knows only AES-CM is served, apart from those that cost less.
func TestWithoutGCM(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	c.run()
	w := watch(t, s, "m", "plain")
	old := watchWith(t, s, "m", "old", func(e *webrtc.SettingEngine) {
		e.SetSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	})
	continuous(t, w.await(video, 20))
	continuous(t, old.await(video, 20))
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.media["m"].viewers {
		if onCostly := v.shard.Load() == s.costly; onCostly != (v.viewer == "old") {
			t.Errorf("viewer %s is on the costly shard: %t", v.viewer, onCostly)
		}
		if slices.Contains(s.shards, s.costly) {
			t.Error("the costly shard is one of the others")
		}
	}
}
