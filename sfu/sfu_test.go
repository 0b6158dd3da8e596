package sfu

import (
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

func TestPublishAndPlay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		format webrtc.RTPCodecParameters
		want   uint8 // the viewer's own payload type
	}{
		{"VP8", format(webrtc.MimeTypeVP8, 100, ""), 96},
		{"VP9", format(webrtc.MimeTypeVP9, 101, "profile-id=0"), 98},
		{"H264", format(webrtc.MimeTypeH264, 102, h264Fmtp), 104},
		{"AV1", format(webrtc.MimeTypeAV1, 103, ""), 45},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t)
			c := publishCamera(t, s, "m", tt.format, opus)
			c.run()
			w := watch(t, s, "m", "v", video, audio)
			got := w.await(video, 60)
			continuous(t, got)
			continuous(t, w.await(audio, 20))
			if info := codec.Inspect(c.codec, got[0].Payload); !info.Keyframe {
				t.Errorf("first packet is no keyframe: % x", got[0].Payload[:6])
			}
			if pt := got[0].PayloadType; pt != tt.want {
				t.Errorf("payload type %d, want %d", pt, tt.want)
			}
			sdp := string(w.answer.SDP)
			if n := strings.Count(sdp, "a=sendonly"); n != 2 {
				t.Errorf("%d sendonly sections in\n%s", n, sdp)
			}
			if n := strings.Count(string(c.answer.SDP), "a=recvonly"); n != 2 {
				t.Errorf("%d recvonly sections in\n%s", n, c.answer.SDP)
			}
			st, _ := s.Status("m")
			if !st.Publishing || st.Viewers["v"] != 1 || len(st.Tracks) != 2 || st.PacketsOut == 0 || st.Keyframes == 0 {
				t.Errorf("status %+v", st)
			}
		})
	}
}
