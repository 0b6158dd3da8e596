package sfu

import (
	"time"

	"github.com/securecam/securecam/sfu/feedback"
)

const (
	// ReasonBye ends a session whose peer said goodbye.
	ReasonBye = "bye"
	// ReasonNoMedia ends a publisher that is connected and sends nothing.
	ReasonNoMedia = "no_media"
	// byeGrace is how long nothing may come after a camera's goodbye for it to be one: browsers say it of a stream that
	// pauses, too.
	byeGrace = 3 * time.Second
	// farewellWait is how long a connection may stay open for its shard to say goodbye. One that sends in a way that
	// blocks may not get to it before the connection is closed.
	farewellWait = 500 * time.Millisecond
	// mediaTimeout is how long a connected camera may send nothing at all.
	mediaTimeout = 30 * time.Second
)

// appendBye appends a compound packet that says that these sources, of which there is one at least, are gone: RFC 3550,
// section 6.6.
func appendBye(b []byte, cname string, ssrcs ...uint32) []byte {
	b = feedback.AppendReceiverReport(b, ssrcs[0], nil) // a compound packet begins with a report: section 6.1
	return feedback.AppendBye(feedback.AppendCNAME(b, ssrcs[0], cname), ssrcs...)
}

// bye tells a viewer that a stream ends. Runs on the shard.
func (d *downTrack) bye() {
	if d.egress == nil || d.packets == 0 {
		return
	}
	// An error means that the viewer is gone already.
	if d.stream.rtxPayloadType != 0 {
		_ = d.egress.control(func(b []byte) []byte { return appendBye(b, d.stream.cname, d.stream.ssrc, d.stream.rtxSSRC) })
		return
	}
	_ = d.egress.control(func(b []byte) []byte { return appendBye(b, d.stream.cname, d.stream.ssrc) })
}

// leave notes that a camera said goodbye for one of its streams. Caller holds ingress.mu.
func (u *uplink) leave(ssrc uint32, now int64) {
	for _, l := range u.layers {
		if l.reception.ssrc == ssrc {
			l.reception.leave(now)
		}
	}
}

// over says why a camera's session should end, "" if it should not: it said goodbye for everything it sent, or was
// silent for too long. Caller holds ingress.mu.
func (u *uplink) over(now int64) string {
	if now-u.heard > int64(mediaTimeout) {
		return ReasonNoMedia
	}
	left := int64(0)
	for _, l := range u.layers {
		if l.reception.left == 0 {
			return ""
		}
		left = max(left, l.reception.left)
	}
	if left != 0 && now-left > int64(byeGrace) {
		return ReasonBye
	}
	return ""
}

// checkOver ends a camera's session that is over.
func (sess *session) checkOver(now int64) {
	sess.ingress.mu.Lock()
	reason := sess.uplink.over(now)
	sess.ingress.mu.Unlock()
	if reason != "" {
		sess.link.Fail(reason)
	}
}
