package sfu

import (
	"time"

	"github.com/securecam/securecam/sfu/feedback"
)

// senderReport maps RTP time to NTP time at one moment: RFC 3550, section 6.4.1. The NTP time was moved to this
// node's clock, so that a viewer or recorder sees no jump when another camera takes over.
type senderReport struct {
	ntp uint64
	rtp uint32
	at  time.Time // when it was sent, by the way that it took
}

// sendReport tells the sink when its packets were captured. Runs on the shard.
func (d *downTrack) sendReport(now time.Time) {
	d.flow.sample(d.octets, now)
	if d.layer == nil || d.packets == 0 {
		return
	}
	sr := d.layer.report.Load()
	if sr == nil {
		return
	}
	if d.egress == nil {
		if s, ok := d.sink.(SenderReportSink); ok && sr != d.lastReport {
			d.lastReport = sr
			s.WriteSenderReport(sr.ntp, d.mapper.Timestamp(sr.rtp))
		}
		return
	}
	since := now.Sub(sr.at)
	ntp := sr.ntp + ntpDuration(since)
	d.egress.way.reported(ntp, now)
	// An error means that the viewer is going; its session ends by itself.
	_ = d.egress.report(d.stream.ssrc, d.stream.cname, feedback.SenderInfo{
		NTP:     ntp,
		RTP:     d.mapper.Timestamp(sr.rtp) + uint32(ticks(since, d.track.spec.clockRate)),
		Packets: d.packets, Octets: uint32(d.octets),
	})
}

// ntpTime returns t as a 64-bit NTP timestamp.
func ntpTime(t time.Time) uint64 {
	const secondsTo1970 = 2208988800
	return uint64(t.Unix()+secondsTo1970)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// ntpDuration returns d in units of 2^-32 seconds, two's complement.
func ntpDuration(d time.Duration) uint64 {
	seconds, rest := d/time.Second, d%time.Second
	return uint64(int64(seconds)<<32 + int64(rest)<<32/int64(time.Second))
}
