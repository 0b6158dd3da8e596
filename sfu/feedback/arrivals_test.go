package feedback

import (
	"slices"
	"testing"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"
)

// arrival is what a feedback says of one packet.
type arrival struct {
	seq      uint16
	received bool
	at       uint32
}

func arrivalsOf(raw []byte) (all []arrival, ok bool) {
	a, ok := ReadArrivals(raw)
	for a.Next() {
		all = append(all, arrival{a.Seq, a.Received, a.At})
	}
	return all, ok
}

// transportCC builds a feedback with pion's types from what it should say, cut into chunks as draw decides.
func transportCC(t *rapid.T, base uint16, reference uint32, symbols []uint16, deltas []int16) *rtcp.TransportLayerCC {
	p := &rtcp.TransportLayerCC{
		SenderSSRC: 1, MediaSSRC: 2, BaseSequenceNumber: base, PacketStatusCount: uint16(len(symbols)), ReferenceTime: reference,
	}
	for rest := symbols; len(rest) > 0; {
		run := 1
		for run < len(rest) && rest[run] == rest[0] {
			run++
		}
		switch kind := rapid.IntRange(0, 2).Draw(t, "chunk"); kind {
		case 0:
			run = rapid.IntRange(1, run).Draw(t, "run")
			p.PacketChunks = append(p.PacketChunks, &rtcp.RunLengthChunk{
				Type: rtcp.TypeTCCRunLengthChunk, PacketStatusSymbol: rest[0], RunLength: uint16(run),
			})
			rest = rest[run:]
		default:
			size, n := uint16(rtcp.TypeTCCSymbolSizeTwoBit), 7
			if kind == 1 {
				size, n = rtcp.TypeTCCSymbolSizeOneBit, 14
			}
			list := make([]uint16, n)
			n = min(n, len(rest))
			for _, s := range rest[:n] {
				if kind == 1 && s > 1 {
					size, list, n = rtcp.TypeTCCSymbolSizeTwoBit, make([]uint16, 7), min(7, len(rest))
				}
			}
			copy(list, rest[:n])
			p.PacketChunks = append(p.PacketChunks, &rtcp.StatusVectorChunk{
				Type: rtcp.TypeTCCStatusVectorChunk, SymbolSize: size, SymbolList: list,
			})
			rest = rest[n:]
		}
	}
	for i, s := range symbols {
		if s != notReceived {
			p.RecvDeltas = append(p.RecvDeltas, &rtcp.RecvDelta{Type: s, Delta: int64(deltas[i]) * rtcp.TypeTCCDeltaScaleFactor})
		}
	}
	size := p.MarshalSize()
	p.Header = rtcp.Header{
		Padding: size%4 != 0, Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: uint16((size+3)/4 - 1),
	}
	return p
}

// TestArrivals reads what pion writes, however it is cut into chunks.
func TestArrivals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base, reference := rapid.Uint16().Draw(t, "base"), rapid.Uint32Range(0, 1<<24-1).Draw(t, "reference")
		symbols := rapid.SliceOfN(rapid.Uint16Range(0, 2), 1, 120).Draw(t, "symbols")
		deltas := make([]int16, len(symbols))
		want := make([]arrival, len(symbols))
		at := reference << 8
		for i, s := range symbols {
			switch s {
			case smallDelta:
				deltas[i] = int16(rapid.Uint8().Draw(t, "delta"))
			case largeDelta:
				deltas[i] = rapid.Int16().Draw(t, "delta")
			}
			at += uint32(int32(deltas[i]))
			want[i] = arrival{base + uint16(i), s != notReceived, at}
		}
		raw, err := transportCC(t, base, reference, symbols, deltas).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := Read(raw); !ok || !r.Next() || r.Event.Kind != TransportCC {
			t.Fatalf("no event in %x", raw)
		}
		got, ok := arrivalsOf(raw)
		if !ok || len(got) != len(want) {
			t.Fatalf("%v, %d of %d packets from %x", ok, len(got), len(want), raw)
		}
		for i := range want {
			if got[i].seq != want[i].seq || got[i].received != want[i].received || got[i].received && got[i].at != want[i].at {
				t.Fatalf("packet %d is %+v, not %+v", i, got[i], want[i])
			}
		}
	})
}

func TestArrivalsOfLiars(t *testing.T) {
	t.Parallel()
	head := func(count uint16, rest ...byte) []byte {
		b := []byte{0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, byte(count >> 8), byte(count), 0, 0, 1, 0}
		b = append(b, rest...)
		b[3] = byte(len(b)/4 - 1)
		return b
	}
	padded := head(1, 0x20, 1, 4, 9)
	padded[0] |= paddingFlag // by 9 of 4 bytes
	for what, raw := range map[string][]byte{
		"nothing": nil, "short": head(1)[:19], "no chunk": head(1), "no packets": head(0, 0, 0, 0, 0),
		"no delta": head(2, 0x20, 2, 1), "no second byte": head(1, 0x40, 1, 1), "reserved symbol": head(1, 0x60, 1, 1, 1),
		"too many": head(5000, 0x1f, 0xff, 0x1f, 0xff), "empty run": head(1, 0x20, 0, 1, 1), "padding": padded,
		"another type": append([]byte{0x81}, head(1, 0x20, 1, 4, 0)[1:]...),
	} {
		if got, ok := arrivalsOf(raw); ok || len(got) > 0 {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got, ok := arrivalsOf(head(1, 0x20, 1, 4, 0)); !ok || len(got) != 1 || got[0] != (arrival{7, true, 256 + 4}) {
		t.Errorf("%v %v", got, ok)
	}
}

// pionArrivals reads a feedback with pion. It is not ok if pion does not take it, or takes other symbols for granted.
func pionArrivals(raw []byte) (all []arrival, ok bool) {
	var cc rtcp.TransportLayerCC
	if err := cc.Unmarshal(raw); err != nil {
		return nil, false
	}
	var symbols []uint16
	for _, c := range cc.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				symbols = append(symbols, c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			symbols = append(symbols, c.SymbolList...)
		}
	}
	symbols = symbols[:min(len(symbols), int(cc.PacketStatusCount))]
	at, deltas := cc.ReferenceTime<<8, cc.RecvDeltas
	for i, s := range symbols {
		if s > largeDelta || s != notReceived && len(deltas) == 0 {
			return nil, false
		}
		if s != notReceived {
			at += uint32(int32(deltas[0].Delta / rtcp.TypeTCCDeltaScaleFactor))
			deltas = deltas[1:]
		}
		all = append(all, arrival{cc.BaseSequenceNumber + uint16(i), s != notReceived, at})
	}
	return all, len(symbols) == int(cc.PacketStatusCount)
}

// FuzzArrivals: bounded, and no reading beyond the end; what pion understands too is read as pion does.
func FuzzArrivals(f *testing.F) {
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 1, 0, 0, 1, 0, 0x20, 1, 4, 0})
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 3, 0, 0, 1, 0, 0xd4, 0, 4, 0})
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 16, 0, 0, 0, 1, 0, 0x1f, 255, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, ok := arrivalsOf(raw)
		if len(got) > maxStatuses || ok != (len(got) > 0) {
			t.Fatalf("%d packets, ok %v", len(got), ok)
		}
		if want, understood := pionArrivals(raw); ok && understood && raw[0]&paddingFlag == 0 && !slices.Equal(got, want) {
			t.Fatalf("%+v, not %+v", got, want)
		}
	})
}

func TestReadArrivalsAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	raw := []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 3, 0, 0, 1, 0, 0xd4, 0, 4, 0}
	if n := testing.AllocsPerRun(100, func() {
		if a, ok := ReadArrivals(raw); !ok || !a.Next() {
			t.Error("not read")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
