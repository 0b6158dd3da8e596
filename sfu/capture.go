package sfu

import (
	"encoding/binary"
	"time"

	"github.com/securecam/securecam/sfu/transport"
)

const (
	// captureEvery is how often a layer keeps what its camera says of capture times, in parts of a second of RTP time.
	captureEvery = 4
	// captureAge is how long, in seconds of RTP time, what it said holds: after that its reports are newer.
	captureAge = 10
	// captureReach is how far from now a capture time may be, by our clock, to be believed.
	captureReach = 30 * time.Second
)

// noteCapture keeps what the packet's header extension says of when its frame was captured, moved to this node's clock as
// the camera's reports are. Without a report its clock is not known, and nothing is kept. Caller holds the publisher's
// ingress.mu.
func (l *layer) noteCapture() {
	value := l.header.GetExtension(l.captureAt)
	rate := l.track.spec.clockRate
	if len(value) < 8 {
		return
	}
	if was := l.captured.Load(); was != nil {
		if since := int32(l.header.Timestamp - was.rtp); since >= 0 && since < int32(rate/captureEvery) {
			return
		}
	}
	captured := binary.BigEndian.Uint64(value)
	if len(value) >= 16 { // by another clock, which is so far off the one of the camera's reports
		captured += binary.BigEndian.Uint64(value[8:])
	}
	captured, ok := l.clock.moved(captured)
	reach := int64(ntpDuration(captureReach))
	if off := int64(captured - ntpTime(time.Now())); !ok || off > reach || off < -reach {
		return
	}
	l.captured.Store(&senderReport{ntp: captured, rtp: l.header.Timestamp})
}

// capturedAt is what is known of when the frame with this timestamp was captured: by what the camera says itself, else by
// its reports. It is nil if nothing is.
func (l *layer) capturedAt(timestamp uint32) *senderReport {
	if c := l.captured.Load(); c != nil {
		age := captureAge * int32(l.track.spec.clockRate)
		if since := int32(timestamp - c.rtp); since > -age && since < age {
			return c
		}
	}
	return l.report.Load()
}

// captureExtension is the number of that extension in what a camera sends of a kind, 0 if it sends none.
func (sess *session) captureExtension(k kind) uint8 {
	for _, s := range sess.sections {
		if s.Kind == k.String() && !s.Rejected {
			return extensionID(s.Extensions, uriCaptureTime)
		}
	}
	return 0
}

func extensionID(among []transport.Extension, uri string) uint8 {
	for _, e := range among {
		if e.URI == uri {
			return e.ID
		}
	}
	return 0
}
