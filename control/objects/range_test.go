package objects

import (
	"fmt"
	"testing"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	part := func(off, n int64) span { return span{off, n} }
	tests := []struct {
		header string
		size   int64
		want   span
		answer rangeAnswer
	}{
		{"", 100, span{}, wholeObject},
		{"bytes=0-0", 100, part(0, 1), partOfObject},
		{"bytes=0-99", 100, part(0, 100), partOfObject},
		{"bytes=0-", 100, part(0, 100), partOfObject},
		{"Bytes=10-19", 100, part(10, 10), partOfObject},
		{"bytes=10-1000", 100, part(10, 90), partOfObject},
		{"bytes=99-", 100, part(99, 1), partOfObject},
		{"bytes=-1", 100, part(99, 1), partOfObject},
		{"bytes=-100", 100, part(0, 100), partOfObject},
		{"bytes=-500", 100, part(0, 100), partOfObject},
		{"bytes=0-99999999999999999999999", 100, part(0, 100), partOfObject},
		{"bytes=-99999999999999999999999", 100, part(0, 100), partOfObject},

		{"bytes=100-", 100, span{}, noSuchPart},
		{"bytes=100-200", 100, span{}, noSuchPart},
		{"bytes=99999999999999999999999-", 100, span{}, noSuchPart},
		{"bytes=-0", 100, span{}, noSuchPart},
		{"bytes=0-", 0, span{}, noSuchPart},
		{"bytes=-5", 0, span{}, noSuchPart},

		{"lines=1-2", 100, span{}, wholeObject},
		{"bytes", 100, span{}, wholeObject},
		{"bytes=", 100, span{}, wholeObject},
		{"bytes=-", 100, span{}, wholeObject},
		{"bytes=5", 100, span{}, wholeObject},
		{"bytes=9-5", 100, span{}, wholeObject},
		{"bytes=0-1,5-6", 100, span{}, wholeObject},
		{"bytes=0-1, -6", 100, span{}, wholeObject},
		{"bytes=--5", 100, span{}, wholeObject},
		{"bytes=+1-2", 100, span{}, wholeObject},
		{"bytes= 1-2", 100, span{}, wholeObject},
		{"bytes=1-2 ", 100, span{}, wholeObject},
		{"bytes=0x1-2", 100, span{}, wholeObject},
		{"bytes=a-b", 100, span{}, wholeObject},
	}
	for _, test := range tests {
		got, answer := parseRange(test.header, test.size)
		if got != test.want || answer != test.answer {
			t.Errorf("%q of %d: got %+v %d, want %+v %d", test.header, test.size, got, answer, test.want, test.answer)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{
		"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=1-2,3-4", "lines=1", "bytes=9223372036854775807-9223372036854775808",
	} {
		f.Add(seed, int64(100))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		got, answer := parseRange(header, size)
		if answer != partOfObject {
			if got != (span{}) {
				t.Errorf("%q of %d: answer %d with %+v", header, size, answer, got)
			}
			return
		}
		if got.off < 0 || got.n < 1 || got.off > size-got.n {
			t.Errorf("%q of %d: %+v is outside", header, size, got)
		}
		// What Content-Range says must mean the same range again.
		again, _ := parseRange(fmt.Sprintf("bytes=%d-%d", got.off, got.off+got.n-1), size)
		if again != got {
			t.Errorf("%q of %d: %+v, then %+v", header, size, got, again)
		}
	})
}

func BenchmarkParseRange(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		parseRange("bytes=1048576-2097151", 1<<30)
	}
}
