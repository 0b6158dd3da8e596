package feedback

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/pion/rtcp"
)

func marshal(tb testing.TB, packets ...rtcp.Packet) []byte {
	tb.Helper()
	b, err := rtcp.Marshal(packets)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// events reads all there is.
func events(b []byte) (all []Event, malformed int, ok bool) {
	r, ok := Read(b)
	for r.Next() {
		all = append(all, r.Event)
	}
	return all, r.Malformed(), ok
}

func everything() []rtcp.Packet {
	blocks := []rtcp.ReceptionReport{
		{SSRC: 7, FractionLost: 3, TotalLost: 9, LastSequenceNumber: 1<<16 | 5, Jitter: 40, LastSenderReport: 5, Delay: 6},
		{SSRC: 8, TotalLost: 0xfffffe},
	}
	return []rtcp.Packet{
		&rtcp.SenderReport{
			SSRC: 1, NTPTime: 2 << 40, RTPTime: 3, PacketCount: 4, OctetCount: 5, Reports: blocks,
			ProfileExtensions: []byte{1, 2, 3, 4},
		},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
			Source: 1, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "camera"}},
		}}},
		&rtcp.ReceiverReport{SSRC: 2, Reports: blocks[1:]},
		&rtcp.PictureLossIndication{SenderSSRC: 10, MediaSSRC: 11},
		&rtcp.FullIntraRequest{
			SenderSSRC: 12, MediaSSRC: 0, FIR: []rtcp.FIREntry{{SSRC: 13, SequenceNumber: 1}, {SSRC: 14, SequenceNumber: 255}},
		},
		&rtcp.TransportLayerNack{SenderSSRC: 15, MediaSSRC: 16, Nacks: []rtcp.NackPair{{PacketID: 65530, LostPackets: 0x8001}, {PacketID: 9}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 17, Bitrate: 2_500_000, SSRCs: []uint32{18, 19}},
		&rtcp.TransportLayerCC{
			Header:     rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: 5},
			SenderSSRC: 20, MediaSSRC: 21, BaseSequenceNumber: 153, PacketStatusCount: 1, ReferenceTime: 4057090, FbPktCount: 23,
			PacketChunks: []rtcp.PacketStatusChunk{
				&rtcp.RunLengthChunk{Type: rtcp.TypeTCCRunLengthChunk, PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 1},
			},
			RecvDeltas: []*rtcp.RecvDelta{{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 37000}},
		},
		&rtcp.RapidResynchronizationRequest{SenderSSRC: 22, MediaSSRC: 23},
		&rtcp.Goodbye{Sources: []uint32{24, 25}, Reason: "bye"},
	}
}

// expect says which events there are in packets that pion read.
func expect(packets []rtcp.Packet) (all []Event) {
	reports := func(sender uint32, blocks []rtcp.ReceptionReport) {
		for _, b := range blocks {
			all = append(all, Event{Kind: ReceptionReport, Sender: sender, Report: Block{
				SSRC: b.SSRC, FractionLost: b.FractionLost, Lost: int32(b.TotalLost<<8) >> 8,
				Highest: b.LastSequenceNumber, Jitter: b.Jitter, LastSR: b.LastSenderReport, Delay: b.Delay,
			}})
		}
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			all = append(all, Event{Kind: SenderReport, Sender: p.SSRC, Info: SenderInfo{
				NTP: p.NTPTime, RTP: p.RTPTime, Packets: p.PacketCount, Octets: p.OctetCount,
			}})
			reports(p.SSRC, p.Reports)
		case *rtcp.ReceiverReport:
			reports(p.SSRC, p.Reports)
		case *rtcp.PictureLossIndication:
			all = append(all, Event{Kind: PLI, Sender: p.SenderSSRC, Media: p.MediaSSRC})
		case *rtcp.FullIntraRequest:
			for _, f := range p.FIR {
				all = append(all, Event{Kind: FIR, Sender: p.SenderSSRC, Media: f.SSRC, FIRSeq: f.SequenceNumber})
			}
		case *rtcp.TransportLayerNack:
			for _, n := range p.Nacks {
				all = append(all, Event{Kind: NACK, Sender: p.SenderSSRC, Media: p.MediaSSRC, PID: n.PacketID, BLP: uint16(n.LostPackets)})
			}
		case *rtcp.ReceiverEstimatedMaximumBitrate:
			e := Event{Kind: REMB, Sender: p.SenderSSRC, Bitrate: math.MaxUint64, Raw: []byte{}}
			if p.Bitrate < 1<<63*2 {
				e.Bitrate = uint64(p.Bitrate)
			}
			for _, ssrc := range p.SSRCs {
				e.Raw = binary.BigEndian.AppendUint32(e.Raw, ssrc)
			}
			all = append(all, e)
		case *rtcp.TransportLayerCC:
			all = append(all, Event{Kind: TransportCC, Sender: p.SenderSSRC, Media: p.MediaSSRC})
		case *rtcp.Goodbye:
			for _, s := range p.Sources {
				all = append(all, Event{Kind: Bye, Sender: s})
			}
		}
	}
	return all
}

func TestEverything(t *testing.T) {
	t.Parallel()
	packets := everything()
	got, malformed, ok := events(marshal(t, packets...))
	if !ok || malformed != 0 {
		t.Fatalf("ok %v, %d malformed", ok, malformed)
	}
	for i := range got {
		if got[i].Kind != TransportCC {
			continue
		}
		var cc rtcp.TransportLayerCC
		if err := cc.Unmarshal(got[i].Raw); err != nil || !reflect.DeepEqual(&cc, packets[7]) {
			t.Errorf("raw transport feedback: %v, %v", err, cc)
		}
		got[i].Raw = nil
	}
	if want := expect(packets); !reflect.DeepEqual(got, want) {
		t.Errorf("events\n%+v, not\n%+v", got, want)
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	e := Event{Kind: NACK, PID: 65530, BLP: 0x8041}
	if got := slices.Collect(e.Lost()); !slices.Equal(got, []uint16{65530, 65531, 1, 10}) {
		t.Errorf("%v", got)
	}
	for range e.Lost() {
		break
	}
	e.Kind = PLI
	if got := slices.Collect(e.Lost()); len(got) != 0 {
		t.Errorf("a PLI asks for %v", got)
	}
}

// TestPadding has padding behind the second packet, as an encryptor that needs whole blocks leaves it.
func TestPadding(t *testing.T) {
	t.Parallel()
	b := AppendReceiverReport(nil, 1, nil)
	at := len(b)
	b = AppendNACK(b, 1, 2, []uint16{3})
	b = append(b, 0, 0, 0, 4)
	b[at] |= paddingFlag
	setSize(b[at:])
	if got, malformed, ok := events(b); !ok || malformed != 0 || len(got) != 1 || got[0].PID != 3 {
		t.Errorf("%+v %d %v", got, malformed, ok)
	}
	for _, pad := range []byte{0, 3, 20, 255} {
		b[len(b)-1] = pad
		if got, malformed, ok := events(b); !ok || malformed != 1 || len(got) != 0 {
			t.Errorf("padding %d: %+v %d %v", pad, got, malformed, ok)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	pli := AppendPLI(nil, 1, 2)
	for name, b := range map[string][]byte{
		"empty":             {},
		"short":             pli[:3],
		"cut":               pli[:11],
		"more behind":       append(slices.Clone(pli), 0),
		"version 1":         append([]byte{0x41}, pli[1:]...),
		"second is cut":     append(slices.Clone(pli), pli[:8]...),
		"too many packets":  slices.Repeat(pli, maxPackets+1),
		"length past 64 Ki": {0x80, typeBye, 0xff, 0xff},
	} {
		if got, _, ok := events(b); ok || len(got) > 0 {
			t.Errorf("%s: %v %+v", name, ok, got)
		}
	}
	if got, _, ok := events(slices.Repeat(pli, maxPackets)); !ok || len(got) != maxPackets {
		t.Errorf("%d packets: %v, %d events", maxPackets, ok, len(got))
	}
}

// TestMalformed has a good packet behind each bad one.
func TestMalformed(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]struct {
		count, kind byte
		body        int
	}{
		"SR without info":            {0, typeSR, 20},
		"RR without SSRC":            {0, typeRR, 0},
		"RR without its block":       {1, typeRR, 24},
		"BYE without its SSRC":       {2, typeBye, 4},
		"NACK without pairs":         {formatNACK, typeRTPFB, 8},
		"feedback without media":     {formatNACK, typeRTPFB, 4},
		"PLI with something":         {formatPLI, typePSFB, 12},
		"FIR without entries":        {formatFIR, typePSFB, 8},
		"FIR with half an entry":     {formatFIR, typePSFB, 12},
		"transport feedback, no FCI": {formatTransportCC, typeRTPFB, 12},
	} {
		b := appendHeader(nil, head.count, head.kind, head.body)
		b = AppendPLI(append(b, make([]byte, head.body)...), 1, 2)
		if got, malformed, ok := events(b); !ok || malformed != 1 || len(got) != 1 || got[0].Kind != PLI {
			t.Errorf("%s: %v %d %+v", name, ok, malformed, got)
		}
	}
	for name, tt := range map[string]struct {
		fci []byte
		bad int
	}{
		"REMB, cut":                  {[]byte("REMB"), 1},
		"REMB without its SSRC":      {[]byte("REMB\x01\x00\x00\x01"), 1},
		"something else, not for us": {[]byte("ABCDEFGH"), 0},
		"nothing":                    {nil, 0},
	} {
		b := appendHeader(nil, formatALFB, typePSFB, feedbackSize+len(tt.fci))
		b = append(append(b, make([]byte, feedbackSize)...), tt.fci...)
		if got, malformed, ok := events(b); !ok || malformed != tt.bad || len(got) != 0 {
			t.Errorf("%s: %v %d %+v", name, ok, malformed, got)
		}
	}
}

func TestManyEvents(t *testing.T) {
	t.Parallel()
	nacks := make([]rtcp.NackPair, 253)
	b := slices.Repeat(marshal(t, &rtcp.TransportLayerNack{Nacks: nacks}), 5)
	if got, _, ok := events(b); !ok || len(got) != maxEvents {
		t.Errorf("%v, %d events", ok, len(got))
	}
}

func TestBitrate(t *testing.T) {
	t.Parallel()
	for exponent := range byte(64) {
		b := appendHeader(nil, formatALFB, typePSFB, feedbackSize+rembSize)
		b = append(append(b, make([]byte, feedbackSize)...), "REMB\x00"...)
		b = append(b, exponent<<2|3, 0xff, 0xff)
		want := uint64(math.MaxUint64)
		if exponent <= 46 {
			want = 0x3ffff << exponent
		}
		if got, _, _ := events(b); len(got) != 1 || got[0].Bitrate != want {
			t.Errorf("exponent %d: %+v", exponent, got)
		}
	}
}
