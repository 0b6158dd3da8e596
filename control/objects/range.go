package objects

import (
	"math"
	"strings"
)

// span is a part of an object.
type span struct {
	off, n int64
}

// The ways to answer a Range header.
type rangeAnswer int

const (
	wholeObject  rangeAnswer = iota // 200: no range, or none that is understood
	partOfObject                    // 206
	noSuchPart                      // 416
)

// parseRange reads a Range header (RFC 9110, section 14.2) for an object of
// the given size. A server may ignore ranges; ours ignores what is malformed,
// other units, and requests for several ranges.
func parseRange(header string, size int64) (span, rangeAnswer) {
	unit, spec, ok := strings.Cut(header, "=")
	// Section 14.1: range unit names are case-insensitive.
	if !ok || !strings.EqualFold(unit, "bytes") {
		return span{}, wholeObject
	}
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return span{}, wholeObject
	}
	from, hasFrom := digits(first)
	to, hasTo := digits(last)
	switch {
	case hasFrom && hasTo && from <= to:
	case hasFrom && last == "":
		to = math.MaxInt64
	case first == "" && hasTo: // the last bytes
		if to == 0 || size == 0 {
			return span{}, noSuchPart
		}
		n := min(to, size)
		return span{off: size - n, n: n}, partOfObject
	default:
		return span{}, wholeObject
	}
	if from >= size {
		return span{}, noSuchPart
	}
	return span{off: from, n: min(to, size-1) - from + 1}, partOfObject
}

// digits reads an unsigned number. One that is too large is the largest, since
// no object is that long either way.
func digits(s string) (n int64, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		if d := int64(c - '0'); n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
	}
	return n, s != ""
}
