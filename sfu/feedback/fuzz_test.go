package feedback

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/pion/rtcp"
)

// FuzzRead has pion as its oracle: where both understand a whole compound packet, they read the same.
func FuzzRead(f *testing.F) {
	all := everything()
	f.Add(marshal(f, all...))
	for _, p := range all {
		f.Add(marshal(f, p))
	}
	for _, unusual := range []rtcp.Packet{ // feedback that nobody agreed on (RFC 8888), an empty estimate, many requests
		&rtcp.CCFeedbackReport{SenderSSRC: 1, ReportTimestamp: 9, ReportBlocks: []rtcp.CCFeedbackReportBlock{{
			MediaSSRC: 2, BeginSequence: 7, MetricBlocks: []rtcp.CCFeedbackMetricBlock{{Received: true, ArrivalTimeOffset: 5}, {}},
		}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 1},
		&rtcp.FullIntraRequest{SenderSSRC: 1, MediaSSRC: 2, FIR: make([]rtcp.FIREntry, 80)},
	} {
		f.Add(marshal(f, unusual))
	}
	f.Add(append(AppendNACK(nil, 1, 2, []uint16{3}), 0x81, typeBye, 0, 1, 0, 0, 0, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		got, malformed, ok := events(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the packet was changed")
		}
		if len(got) > maxEvents || malformed > maxPackets || !ok && len(got)+malformed > 0 {
			t.Fatalf("%v, %d events, %d malformed", ok, len(got), malformed)
		}
		packets, err := rtcp.Unmarshal(b)
		if err != nil || len(packets) > maxPackets {
			return
		}
		if !ok {
			t.Fatal("refused what pion takes")
		}
		if malformed > 0 || hasPadding(b) {
			return // pion is lax about PLI and FIR with a wrong length, and reads padding as contents
		}
		want := expect(packets)
		if len(want) > maxEvents {
			want = want[:maxEvents]
		}
		for i := range got {
			if got[i].Kind == TransportCC {
				got[i].Raw = nil
			}
			if got[i].Kind == REMB && got[i].Bitrate == 0 && i < len(want) {
				want[i].Bitrate = 0 // pion reads a mantissa of 0 as another
			}
		}
		if !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Fatalf("events\n%+v, not\n%+v", got, want)
		}
	})
}

func hasPadding(b []byte) bool {
	for len(b) > 0 {
		if b[0]&paddingFlag != 0 {
			return true
		}
		b = b[packetSize(b):]
	}
	return false
}
