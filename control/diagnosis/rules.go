package diagnosis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/securecam/securecam/store"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // there is no picture
	SeverityWarning Severity = "warning" // the picture is worse than it need be
	SeverityInfo    Severity = "info"
)

// Finding is one thing that is worth saying of a stream.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity" enum:"error,warning,info"`
	Message  string   `json:"message"`
	Advice   string   `json:"advice,omitempty" doc:"What to change"`
}

const (
	// silence is how long nothing may come before it is worth saying.
	silence = 3 * time.Second
	// lossy is the share of lost packets that repairs do not hide any more.
	lossy = 0.05
	// far is a round trip that makes repairs come late.
	far = 400 * time.Millisecond
	// undecoded is how many packets make a picture, if a decoder takes them.
	undecoded = 200
)

// Diagnose says what is wrong with a stream, the likeliest cause of a missing
// picture first. There is always at least one finding.
func Diagnose(f Facts) []Finding {
	if over := notStreaming(f); len(over) > 0 {
		return over
	}
	findings := peerToPeer(f)
	if f.Media != nil {
		findings = append(cameraSide(f), viewerSide(f)...)
	}
	findings = append(findings, reportSide(f)...)
	if len(findings) == 0 {
		findings = append(findings, Finding{Code: "all_well", Severity: SeverityInfo, Message: "Media flows from the camera to the viewer."})
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return rank(a.Severity) - rank(b.Severity) })
	return findings
}

func rank(s Severity) int { return strings.Index("error warning info", string(s)) }

func failure(code, message, advice string) []Finding {
	return []Finding{{Code: code, Severity: SeverityError, Message: message, Advice: advice}}
}

// notStreaming is what there is to say of a stream that has not begun, or is over.
func notStreaming(f Facts) []Finding {
	switch st := f.Stream; {
	case st.Status == store.StreamRequested && !f.CameraOnline:
		return failure("camera_offline", "The camera is not connected to the server.",
			"See that it has power and network, and that its app or page is open.")
	case st.Status == store.StreamRequested:
		return failure("camera_not_accepted", "The camera is connected, but has not accepted the stream yet.",
			"It accepts by itself if its app or page is in the foreground.")
	case st.Status != store.StreamStreaming:
		return []Finding{{
			Code: "stream_ended", Severity: SeverityError,
			Message: fmt.Sprintf("The stream is over: %s (%s).", st.Status, orUnknown(st.Reason)), Advice: "Request a new one.",
		}}
	case f.Media == nil && st.MediaProvider != providerP2P:
		return failure("media_not_here", "This server does not carry the stream's media.",
			"With several servers, ask the one that the WHEP URL leads to; otherwise the camera has not begun to publish.")
	}
	return nil
}

// providerP2P is the media provider of streams that this server forwards nothing of.
const providerP2P = "p2p"

// peerToPeer is what there is to say of a stream whose media goes from device to device.
func peerToPeer(f Facts) []Finding {
	switch {
	case f.Stream.MediaProvider != providerP2P:
		return nil
	case !f.CameraOnline:
		return failure("camera_offline", "The camera is not connected to the server, so no viewer can call it.",
			"See that it has power and network, and that its app or page is open.")
	case f.Report == nil || f.Report.PacketsReceived == 0:
		return failure("p2p_not_seen", "Camera and viewer connect to each other without this server, and the viewer has not told of any packet.",
			"Both in the same network always works; elsewhere they may need TURN.")
	}
	return nil
}

func orUnknown(s string) string {
	if s == "" {
		return "no reason is known"
	}
	return s
}

// cameraSide is what there is to say of the camera's connection and what it sends.
func cameraSide(f Facts) []Finding {
	running, over := f.Media.of("publish", "")
	if !f.Media.Publishing {
		for _, s := range running {
			return []Finding{connecting(f, s, "camera")}
		}
		switch s, _ := last(over); {
		case s.Failure != "":
			return []Finding{whyNotConnected(f, s, "camera")}
		case s.Reason == reasonCodec:
			return failure("camera_codec", "The camera's offer was refused: "+s.Detail+".",
				"Have it send VP8, VP9, AV1 or H.264, and Opus for sound.")
		case s.Reason == reasonRefused:
			return failure("camera_refused", "The camera's offer was refused: "+s.Detail+".",
				"It has to offer audio or video over ICE and DTLS, as WHIP (RFC 9725) says.")
		}
		message := "The camera does not publish."
		if !f.Media.LostAt.IsZero() && len(over) > 0 {
			message = fmt.Sprintf("The camera's connection was lost %d s ago.", int(f.Now.Sub(f.Media.LostAt).Seconds()))
		}
		return failure("camera_not_publishing", message, "It comes back by itself if its app and its network are there.")
	}
	var findings []Finding
	for _, s := range running {
		for _, t := range s.Tracks {
			findings = append(findings, cameraTrack(f, s, t)...)
			findings = append(findings, cameraFormat(t)...)
		}
	}
	return findings
}

func cameraTrack(f Facts, s Session, t Track) []Finding {
	age := f.Now.Sub(s.ConnectedAt)
	switch {
	case t.Kind == "video" && t.Packets == 0 && age > silence:
		return failure("camera_silent", "The camera is connected, but sends no video.",
			"Another program may hold its lens, or a firewall drops its media: see that UDP leaves the camera's network.")
	case t.Kind == "video" && t.Waiting && t.Packets > 0 && age > silence:
		return failure("no_keyframe", fmt.Sprintf(
			"The camera sends video, but no keyframe to begin with; it was asked for one %d times.", f.Media.KeyframeRequests),
			"Set its keyframe interval to two seconds or less, or use an encoder that answers requests (PLI).")
	case t.Kind == "video" && t.SilentMillis > float64(silence.Milliseconds()) && !f.Media.otherActive(t):
		return failure("camera_silent", fmt.Sprintf("The camera has sent no video for %.0f s.", t.SilentMillis/1e3),
			"Its app may be in the background, or its network gone.")
	case t.Loss > lossy:
		return []Finding{{
			Code: "camera_loss", Severity: SeverityWarning,
			Message: fmt.Sprintf("%.0f%% of the camera's %s packets do not arrive.", t.Loss*100, t.Kind),
			Advice:  "Move the camera closer to its access point, use 5 GHz or a cable, or lower its bitrate.",
		}}
	}
	return nil
}

// cameraFormat is what there is to say of the format that the camera sends.
func cameraFormat(t Track) []Finding {
	var findings []Finding
	if t.BFrames {
		findings = append(findings, Finding{
			Code: "b_frames", Severity: SeverityWarning,
			Message: "The camera's H.264 has B-frames. Players over WebRTC show them out of order: the picture jumps, or stands still.",
			Advice:  "Turn B-frames off at the encoder (FFmpeg -bf 0, x264 tune=zerolatency), or choose the baseline profile.",
		})
	}
	if t.Beyond {
		findings = append(findings, Finding{
			Code: "h264_profile", Severity: SeverityWarning,
			Message: fmt.Sprintf("The camera sends H.264 %s, level %s, but said that it would send %s. Not every viewer can decode that.",
				t.Profile, t.Level, t.Agreed),
			Advice: "Set its encoder to the profile that it offers; every browser plays constrained baseline.",
		})
	}
	return findings
}

// otherActive reports whether another layer of the same kind sends.
func (m *MediaFacts) otherActive(t Track) bool {
	return slices.ContainsFunc(m.Layers, func(l Layer) bool { return l.Track == t.Kind && l.Active && l.RID != t.RID })
}

// viewerSide is what there is to say of the viewer's connection.
func viewerSide(f Facts) []Finding {
	running, over := f.Media.of("play", f.Stream.ID)
	running = slices.DeleteFunc(running, func(s Session) bool { return s.Unanswered })
	if len(running) == 0 {
		return viewerOver(f, over)
	}
	var findings []Finding
	for _, s := range running {
		if s.ConnectedAt.IsZero() {
			findings = append(findings, connecting(f, s, "viewer"))
			continue
		}
		if s.Stalled {
			findings = append(findings, failure("viewer_stalled", "The viewer is connected over TCP, and takes nothing of what it is sent.",
				"Its network or its player stands still: connect again, over UDP if that can be.")...)
		}
		if s.RTTMillis > float64(far.Milliseconds()) {
			findings = append(findings, Finding{
				Code: "viewer_far", Severity: SeverityWarning, Message: fmt.Sprintf("A packet takes %.0f ms to the viewer and back.", s.RTTMillis),
				Advice: "A queue on the way is full: lower the quality, or pause other traffic.",
			})
		}
		for _, t := range s.Tracks {
			findings = append(findings, viewerTrack(f, s, t)...)
		}
		findings = append(findings, viewerWay(f, s)...)
	}
	return findings
}

// viewerOver is what there is to say of a viewer without a connection.
func viewerOver(f Facts, over []Session) []Finding {
	s, ok := last(over)
	switch {
	case !ok:
		return failure("viewer_not_connected", "The viewer has not asked for the picture yet.",
			"It does by WHEP, at the URL of its credentials.")
	case s.Reason == reasonCodec:
		return failure("codec_mismatch", "The viewer cannot play what the camera sends: "+s.Detail+".",
			"Set the camera to VP8 or to H.264 constrained baseline, which every browser plays.")
	case s.Reason == reasonRefused:
		return failure("viewer_refused", "The viewer's offer was refused: "+s.Detail+".",
			"Its player has to offer to receive audio or video over ICE and DTLS, as WHEP says.")
	case s.Failure != "":
		return []Finding{whyNotConnected(f, s, "viewer")}
	}
	return failure("viewer_gone", "The viewer's connection has ended: "+orUnknown(s.Reason)+".", "Connect again.")
}

// viewerWay is what there is to say of what the way to the viewer carries.
func viewerWay(f Facts, s Session) []Finding {
	w := s.Way
	if w == nil || w.Paused || w.Layer == "" {
		return nil
	}
	var got, best Layer
	for _, l := range f.Media.Layers {
		if l.Track != "video" || !l.Active {
			continue
		}
		if l.RID == w.Layer {
			got = l
		}
		if l.Bitrate > best.Bitrate {
			best = l
		}
	}
	if got.RID == "" || got.RID == best.RID || best.Bitrate <= w.Budget {
		return nil
	}
	return []Finding{{
		Code: "viewer_narrow", Severity: SeverityInfo,
		Message: fmt.Sprintf("The viewer's connection carries about %s, so it gets %s of the %s that the camera sends.",
			rate(w.Estimate), picture(got), picture(best)),
	}}
}

// rate is so many bit/s in words.
func rate(bits int) string {
	if bits < 950_000 {
		return fmt.Sprintf("%d kbit/s", (bits+5_000)/10_000*10)
	}
	return fmt.Sprintf("%.1f Mbit/s", float64(bits)/1e6)
}

// picture is a layer in words.
func picture(l Layer) string {
	if l.Height == 0 {
		return rate(l.Bitrate)
	}
	return fmt.Sprintf("%d lines", min(l.Width, l.Height))
}

func viewerTrack(f Facts, s Session, t Track) []Finding {
	switch {
	case t.Rejected:
		return []Finding{{Code: "no_" + t.Kind, Severity: SeverityInfo, Message: "The camera sends no " + t.Kind + "."}}
	case t.Paused && s.Way != nil && s.Way.Paused:
		return failure("paused", fmt.Sprintf("The viewer's connection carries only about %s, which is less than the smallest picture takes: "+
			"the video waits, so that sound and control go on.", rate(s.Way.Estimate)),
			"Give the viewer a better network, or let the camera send a smaller layer too (simulcast).")
	case t.Paused:
		return failure("paused", "The video is paused: nothing that the camera sends fits the viewer's link or wish.",
			"Let the camera send a smaller layer (simulcast), or allow the viewer more.")
	case t.Kind == "video" && t.Waiting && f.Media.Publishing && f.Now.Sub(s.ConnectedAt) > silence:
		return failure("waiting_for_keyframe", "The viewer is connected and waits for the camera's next keyframe.",
			"Set the camera's keyframe interval to two seconds or less.")
	case t.Loss > lossy:
		return []Finding{{
			Code: "viewer_loss", Severity: SeverityWarning,
			Message: fmt.Sprintf("%.0f%% of the %s packets do not reach the viewer.", t.Loss*100, t.Kind),
			Advice:  "Its network is weak or full: move closer to the access point, or choose a lower quality.",
		}}
	}
	return nil
}

// reportSide is what the viewer's own numbers add.
func reportSide(f Facts) []Finding {
	r := f.Report
	if r == nil || f.Now.Sub(f.ReportedAt) > reportAge {
		return nil
	}
	switch {
	case r.Blocked:
		return failure("playback_blocked", "The viewer's browser does not let the page play.", "Tap the picture once.")
	case r.Hidden:
		return []Finding{{
			Code: "viewer_hidden", Severity: SeverityInfo,
			Message: "The viewer's page is in the background, where browsers do not decode.",
		}}
	case f.Undecoded > undecoded && (r.FramesDecoded == 0 || f.StuckFor >= silence):
		return undecodable(f)
	case f.Frozen > time.Second && f.Freezes > 2:
		return []Finding{{
			Code: "freezes", Severity: SeverityWarning,
			Message: fmt.Sprintf("The picture froze %d times lately, for %.1f s together.", f.Freezes, f.Frozen.Seconds()),
			Advice:  "Choose a lower quality if that goes on.",
		}}
	}
	return nil
}

// undecodable explains why a decoder makes nothing of what it gets, as far as the camera's stream tells.
func undecodable(f Facts) []Finding {
	message, again := "Packets reach the viewer, but its decoder makes no picture of them", ""
	if f.Report.FramesDecoded > 0 {
		message = fmt.Sprintf("Packets reach the viewer, but its decoder has made no picture of them for %.0f s", f.StuckFor.Seconds())
		again = "Connect again. If that does not last: "
	}
	var camera []Session
	if f.Media != nil {
		camera, _ = f.Media.of("publish", "")
	}
	for _, s := range camera {
		for _, t := range s.Tracks {
			switch {
			case t.Kind != "video":
			case t.BFrames:
				return failure("decoder_stuck", message+": the camera's H.264 has B-frames.",
					again+"Turn B-frames off at the encoder, or choose the baseline profile.")
			case t.Profile != "":
				return failure("decoder_stuck", fmt.Sprintf("%s: the camera sends H.264 %s, level %s.", message, t.Profile, t.Level),
					again+"Set its encoder to constrained baseline, level 3.1 or 4.0, or to VP8, which every browser decodes.")
			case t.MimeType != "":
				return failure("decoder_stuck", fmt.Sprintf("%s: the camera sends %s.", message, strings.TrimPrefix(t.MimeType, "video/")),
					again+"Set the camera to VP8 or to H.264 constrained baseline, which every browser decodes.")
			}
		}
	}
	return failure("decoder_stuck", message+".", again+"Set the camera to VP8 or to H.264 constrained baseline, which every browser decodes.")
}

// connecting is what there is to say of a session that is not connected yet. Those who try again and again, as browsers'
// pages do, never have one that failed: what takes long is as good as that. ICE and the handshake after it are given that
// time each.
func connecting(f Facts, s Session, who string) Finding {
	step, failure := s.Since, "no_path"
	if !s.ReachedAt.IsZero() {
		step, failure = s.ReachedAt, "handshake"
	}
	if f.Now.Sub(step) <= silence {
		return Finding{
			Code: who + "_connecting", Severity: SeverityError, Message: "The " + who + " is just connecting.",
			Advice: strings.TrimSpace(tried(s) + " " + f.Media.Unreachable),
		}
	}
	s.Failure = failure
	return whyNotConnected(f, s, who)
}

// whyNotConnected explains a session that did not come about, or takes too long to.
func whyNotConnected(f Facts, s Session, who string) Finding {
	switch s.Failure {
	case "fingerprint":
		return Finding{
			Code: who + "_fingerprint", Severity: SeverityError,
			Message: "The " + who + "'s certificate is not the one that its offer names.",
			Advice:  "Somebody changes the signalling on the way, or the app reuses an old offer: make a new one for each connection.",
		}
	case "handshake":
		succeeded := "did not succeed"
		if s.EndedAt.IsZero() {
			succeeded = "has not succeeded so far"
		}
		return Finding{
			Code: who + "_handshake", Severity: SeverityError,
			Message: "The " + who + " was reached, but the DTLS handshake " + succeeded + ".",
			Advice:  "A firewall that lets only small packets pass does this; try TURN over TCP.",
		}
	default:
		works := "worked"
		if s.EndedAt.IsZero() {
			works = "works so far"
		}
		return Finding{
			Code: who + "_no_path", Severity: SeverityError,
			Message: fmt.Sprintf("No way between server and %s %s. %s", who, works, tried(s)),
			Advice: strings.TrimSpace(f.Media.Unreachable +
				" Open the media ports (MEDIA_UDP_PORT, UDP, and MEDIA_TCP_PORT, TCP) in the server's firewall, set PUBLIC_IPS to its public" +
				" address, or use TURN. If others have no trouble, the " + who + "'s own network blocks it."),
		}
	}
}

// tried tells of the ways that were tried.
func tried(s Session) string {
	if len(s.Pairs) == 0 {
		o := s.Offered
		return fmt.Sprintf("Nothing could be tried: %d addresses were offered, %d of them hidden names, and no packet came.",
			o.Host+o.Reflexive+o.Relay+o.TCP+o.Hidden, o.Hidden)
	}
	var ways []string
	for _, p := range s.Pairs {
		ways = append(ways, fmt.Sprintf("%s %s (%s): %s", p.Remote, p.Protocol, p.Address, p.State))
	}
	slices.Sort(ways)
	ways = slices.Compact(ways)
	const most = 4
	if len(ways) > most {
		ways = append(ways[:most], fmt.Sprintf("%d more", len(ways)-most))
	}
	return "Tried: " + strings.Join(ways, ", ") + "."
}
