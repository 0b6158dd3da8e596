package feedback

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"
)

// TestBuild compares with what pion writes.
func TestBuild(t *testing.T) {
	t.Parallel()
	block := rtcp.ReceptionReport{
		SSRC: 7, FractionLost: 3, TotalLost: 0xffffff, LastSequenceNumber: 5, Jitter: 40, LastSenderReport: 5, Delay: 6,
	}
	ours := Block{SSRC: 7, FractionLost: 3, Lost: -1, Highest: 5, Jitter: 40, LastSR: 5, Delay: 6}
	name := func(text string) rtcp.Packet {
		return &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
			Source: 9, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: text}},
		}}}
	}
	long := strings.Repeat("n", 300)
	before := []byte("abc")
	for what, tt := range map[string]struct {
		got  []byte
		want rtcp.Packet
	}{
		"FIR": {AppendFIR(before, 1, 2, 3), &rtcp.FullIntraRequest{
			SenderSSRC: 1, FIR: []rtcp.FIREntry{{SSRC: 2, SequenceNumber: 3}},
		}},
		"BYE": {AppendBye(before, 1, 2), &rtcp.Goodbye{Sources: []uint32{1, 2}}},
		"PLI": {AppendPLI(before, 1, 2), &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2}},
		"SR": {
			AppendSenderReport(before, 1, SenderInfo{NTP: 1 << 60, RTP: 3, Packets: 4, Octets: 5}),
			&rtcp.SenderReport{SSRC: 1, NTPTime: 1 << 60, RTPTime: 3, PacketCount: 4, OctetCount: 5},
		},
		"RR": {
			AppendReceiverReport(before, 1, []Block{ours, ours}),
			&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{block, block}},
		},
		"empty RR": {AppendReceiverReport(before, 1, nil), &rtcp.ReceiverReport{SSRC: 1}},
		"long RR": {
			AppendReceiverReport(before, 1, slices.Repeat([]Block{ours}, 40)),
			&rtcp.ReceiverReport{SSRC: 1, Reports: slices.Repeat([]rtcp.ReceptionReport{block}, 31)},
		},
		"CNAME":        {AppendCNAME(before, 9, "cam"), name("cam")},
		"CNAME of 4":   {AppendCNAME(before, 9, "cam1"), name("cam1")},
		"CNAME of 5":   {AppendCNAME(before, 9, "cam12"), name("cam12")},
		"CNAME of 6":   {AppendCNAME(before, 9, "cam123"), name("cam123")},
		"no CNAME":     {AppendCNAME(before, 9, ""), name("")},
		"CNAME of 300": {AppendCNAME(before, 9, long), name(long[:255])},
		"NACK": {
			AppendNACK(before, 1, 2, []uint16{65530, 65530, 65531, 10, 11, 1000}),
			&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: 2, Nacks: []rtcp.NackPair{
				{PacketID: 65530, LostPackets: 0x8001}, {PacketID: 11}, {PacketID: 1000},
			}},
		},
	} {
		if want := append(slices.Clone(before), marshal(t, tt.want)...); !bytes.Equal(tt.got, want) {
			t.Errorf("%s: %x, not %x", what, tt.got, want)
		}
	}
	if got := AppendNACK(before, 1, 2, nil); len(got) != len(before) {
		t.Errorf("NACK of nothing: %x", got)
	}
	clamped, _, _ := events(AppendReceiverReport(nil, 1, []Block{{Lost: 1 << 30}, {Lost: -1 << 30}}))
	if clamped[0].Report.Lost != 1<<23-1 || clamped[1].Report.Lost != -1<<23 {
		t.Errorf("lost packets: %+v", clamped)
	}
}

// TestNACKRoundTrip asks for any packets and reads what it asked for.
func TestNACKRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seq := rapid.Uint16().Draw(t, "first")
		var lost []uint16
		for _, step := range rapid.SliceOfN(rapid.Uint16Range(1, 60), 1, 800).Draw(t, "steps") {
			lost = append(lost, seq)
			seq += step
		}
		b := AppendNACK(nil, 1, 2, lost)
		var got []uint16
		r, ok := Read(b)
		pairs := 0
		for ; r.Next(); pairs++ {
			got = slices.AppendSeq(got, r.Event.Lost())
		}
		if !ok || pairs > maxPairs || pairs < maxPairs && len(got) != len(lost) || !slices.Equal(got, lost[:len(got)]) {
			t.Fatalf("%v, %d pairs: %v, not %v", ok, pairs, got, lost)
		}
	})
}

// TestRoundTrip reads what the other builders write.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	info, report := SenderInfo{NTP: 1, RTP: 2, Packets: 3, Octets: 4}, Block{SSRC: 5, Lost: -3, Delay: 9}
	b := AppendSenderReport(nil, 1, info)
	b = AppendCNAME(b, 1, "camera")
	b = AppendReceiverReport(b, 2, []Block{report})
	b = AppendPLI(b, 3, 4)
	got, malformed, ok := events(b)
	want := []Event{
		{Kind: SenderReport, Sender: 1, Info: info},
		{Kind: ReceptionReport, Sender: 2, Report: report},
		{Kind: PLI, Sender: 3, Media: 4},
	}
	if !ok || malformed != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %d %+v", ok, malformed, got)
	}
}
