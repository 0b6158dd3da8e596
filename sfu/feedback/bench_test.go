package feedback

import "testing"

// answer is what a viewer sends most: a report with a NACK of three pairs.
func answer() []byte {
	b := AppendReceiverReport(nil, 1, []Block{{SSRC: 2, Highest: 1000}})
	return AppendNACK(b, 1, 2, []uint16{1, 2, 20, 40, 41})
}

// count reads everything and keeps none of it.
func count(b []byte) (n int) {
	r, _ := Read(b)
	for r.Next() {
		if r.Event.Kind != NACK {
			n++
			continue
		}
		for range r.Event.Lost() {
			n++
		}
	}
	return n
}

//nolint:paralleltest // allocations are counted for the whole process
func TestAllocatesNothing(t *testing.T) {
	b, all, garbage := answer(), marshal(t, everything()...), []byte{0x81, typeBye, 0, 9, 1, 2}
	blocks, lost := []Block{{SSRC: 2}}, []uint16{1, 2, 20}
	buf := make([]byte, 0, 1500)
	if n := testing.AllocsPerRun(200, func() {
		if count(b) != 6 || count(all) == 0 || count(garbage) != 0 {
			t.Error("wrong count")
		}
		out := AppendSenderReport(buf, 1, SenderInfo{})
		out = AppendCNAME(out, 1, "camera")
		out = AppendReceiverReport(out, 1, blocks)
		out = AppendNACK(out, 1, 2, lost)
		if out = AppendPLI(out, 1, 2); len(out) == 0 {
			t.Error("nothing written")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRead(b *testing.B) {
	packet := answer()
	b.ReportAllocs()
	for b.Loop() {
		count(packet)
	}
}

func BenchmarkAppendSenderReport(b *testing.B) {
	buf := make([]byte, 0, 200)
	b.ReportAllocs()
	for b.Loop() {
		AppendCNAME(AppendSenderReport(buf, 1, SenderInfo{NTP: 1}), 1, "0123456789abcdef")
	}
}
