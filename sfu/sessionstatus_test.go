package sfu

import (
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/transport"
)

// ended waits for the first session that has ended.
func ended(t *testing.T, s *SFU, id string) SessionStatus {
	t.Helper()
	var st SessionStatus
	eventually(t, "a session ended", func() bool {
		for _, one := range s.Sessions(id, "") {
			if !one.EndedAt.IsZero() {
				st = one
				return true
			}
		}
		return false
	})
	return st
}

func TestSessionsTellOfMedia(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", format(webrtc.MimeTypeVP8, 96, ""), opus)
	w := watch(t, s, "m", "anna", video)
	cam.run()
	w.await(video, 30)
	var up, down SessionStatus
	for _, st := range s.Sessions("m", "") {
		if st.Role == "publish" {
			up = st
		} else {
			down = st
		}
	}
	if !up.Transport.Connected || up.ConnectedAt.IsZero() || up.Profile != "AEAD_AES_128_GCM" || len(up.Tracks) != 2 {
		t.Errorf("camera: %+v", up)
	}
	selected := 0
	for _, p := range down.Transport.Pairs {
		if p.Selected && p.State == "succeeded" && p.Protocol == "udp" {
			selected++
		}
	}
	if down.Viewer != "anna" || selected != 1 || len(down.Tracks) != 1 || down.Tracks[0].MimeType != webrtc.MimeTypeVP8 ||
		down.Tracks[0].Packets == 0 || down.Tracks[0].Waiting || down.Tracks[0].Paused {
		t.Errorf("viewer: %+v", down)
	}
	if s.Sessions("nobody", "") != nil {
		t.Error("there are sessions of no media session")
	}
}

// TestSessionsWaitForKeyframe tells a camera that sends none from one that sends nothing.
func TestSessionsWaitForKeyframe(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", format(webrtc.MimeTypeVP8, 96, ""))
	watch(t, s, "m", "anna", video)
	state := func(role string) (st TrackStatus) {
		for _, sess := range s.Sessions("m", "") {
			if sess.Role == role && len(sess.Tracks) == 1 {
				st = sess.Tracks[0]
			}
		}
		return st
	}
	if st := state("publish"); !st.Waiting || st.Packets != 0 {
		t.Errorf("a silent camera: %+v", st)
	}
	eventually(t, "packets without a keyframe come", func() bool {
		cam.frame(false)
		return state("publish").Packets > 3
	})
	if st := state("publish"); !st.Waiting {
		t.Errorf("a camera without keyframes: %+v", st)
	}
	eventually(t, "the viewer waits", func() bool { return state("play").Waiting })
}

// TestSessionsTellOfH264 says what the stream itself is, beside what was agreed on.
func TestSessionsTellOfH264(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	cam := publishCamera(t, s, "m", format(webrtc.MimeTypeH264, 102, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"))
	said := func() (st TrackStatus) {
		for _, sess := range s.Sessions("m", "") {
			if len(sess.Tracks) == 1 {
				st = sess.Tracks[0]
			}
		}
		return st
	}
	send := func(packets ...string) {
		t.Helper()
		for _, p := range packets {
			raw, err := hex.DecodeString(p)
			if err != nil {
				t.Fatal(err)
			}
			cam.seq[video]++
			cam.ts[video] += 3000
			cam.write(video, cam.seq[video], true, raw)
		}
	}
	const high, p = "6764000dacd94141fb0110000003", "419a236c437ffea78405920b6c00"
	const b, plain = "019e626a427f0004092af62cd620", "6742c00dd90141fb011000000300"
	eventually(t, "B-frames of a high profile", func() bool {
		send(high, p, b, p)
		st := said()
		return st.Profile == "High" && st.Level == "1.3" && st.Agreed == "Constrained Baseline" && st.Beyond && st.BFrames
	})
	eventually(t, "neither", func() bool {
		send(plain, p, p)
		st := said()
		return st.Profile == "Constrained Baseline" && !st.Beyond && !st.BFrames
	})
}

func TestSessionsTellWhyNot(t *testing.T) {
	t.Parallel()
	fingerprint := regexp.MustCompile(`(?m)^(a=fingerprint:sha-256 )..`)
	password := regexp.MustCompile(`(?m)^a=ice-pwd:.*\r$`)
	for name, c := range map[string]struct {
		change func(sdp string) string
		want   string
	}{
		"another certificate": {func(sdp string) string {
			other := fingerprint.ReplaceAllString(sdp, "${1}00")
			if other == sdp { // as one certificate in 256 has it
				other = fingerprint.ReplaceAllString(sdp, "${1}01")
			}
			return other
		}, transport.FailureFingerprint},
		"another password": {func(sdp string) string {
			return password.ReplaceAllString(sdp, "a=ice-pwd:"+strings.Repeat("x", 32)+"\r")
		}, transport.FailureNoPath},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t, func(c *Config) { c.ConnectTimeout = time.Second })
			publishCamera(t, s, "m", opus)
			pc := offerPlay(t, []kind{audio}, opus)
			a, err := s.Play(t.Context(), "m", "anna", NoPreference(), []byte(c.change(string(makeOffer(t, pc)))))
			if err != nil {
				t.Fatal(err)
			}
			if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(a.SDP)}); err != nil {
				t.Fatal(err)
			}
			st := ended(t, s, "m")
			if st.Transport.Failure != c.want || st.Offered.Host == 0 || st.Reason == "" {
				t.Errorf("%+v, want %s", st, c.want)
			}
		})
	}
}
