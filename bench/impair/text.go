package impair

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseLink reads a link in words, in any order: "rate=1M queue=32k loss=5% burst=4 duplicate=1% delay=50ms jitter=30ms
// reorder=3% held=15ms". What is left out is off. Shares are percentages or between 0 and 1; numbers may end with k or M.
func ParseLink(text string) (Link, error) {
	var l Link
	for word := range strings.FieldsSeq(text) {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return Link{}, fmt.Errorf("impair: %q is not name=value", word)
		}
		if err := l.set(name, value); err != nil {
			return Link{}, fmt.Errorf("impair: %s: %w", name, err)
		}
	}
	return l, l.Check()
}

func (l *Link) set(name, value string) (err error) {
	switch name {
	case "rate":
		l.Rate, err = number(value)
	case "queue":
		l.Queue, err = number(value)
	case "loss":
		l.Loss, err = share(value)
	case "burst":
		l.Burst, err = strconv.ParseFloat(value, 64)
	case "duplicate":
		l.Duplicate, err = share(value)
	case "reorder":
		l.Reorder, err = share(value)
	case "delay":
		l.Delay, err = time.ParseDuration(value)
	case "jitter":
		l.Jitter, err = time.ParseDuration(value)
	case "held":
		l.Held, err = time.ParseDuration(value)
	default:
		err = errors.New("unknown; known are rate queue loss burst duplicate delay jitter reorder held")
	}
	return err
}

func number(s string) (int, error) {
	factor := 1.0
	if cut, ok := strings.CutSuffix(s, "k"); ok {
		s, factor = cut, 1e3
	} else if cut, ok := strings.CutSuffix(s, "M"); ok {
		s, factor = cut, 1e6
	}
	f, err := strconv.ParseFloat(s, 64)
	if err == nil && !(f*factor >= 0 && f*factor <= 1e12) {
		return 0, fmt.Errorf("%s is out of range", s)
	}
	return int(f * factor), err
}

func share(s string) (float64, error) {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(percent, 64)
		return f / 100, err
	}
	return strconv.ParseFloat(s, 64)
}

// String is the link in the words of ParseLink; "clean" if nothing happens on it.
func (l Link) String() string {
	var words []string
	add := func(name, value string, on bool) {
		if on {
			words = append(words, name+"="+value)
		}
	}
	percent := func(f float64) string { return strconv.FormatFloat(f*100, 'g', 6, 64) + "%" }
	add("rate", strconv.Itoa(l.Rate), l.Rate > 0)
	add("queue", strconv.Itoa(l.Queue), l.Queue > 0)
	add("loss", percent(l.Loss), l.Loss > 0)
	add("burst", strconv.FormatFloat(l.Burst, 'g', -1, 64), l.Burst > 0)
	add("duplicate", percent(l.Duplicate), l.Duplicate > 0)
	add("delay", l.Delay.String(), l.Delay > 0)
	add("jitter", l.Jitter.String(), l.Jitter > 0)
	add("reorder", percent(l.Reorder), l.Reorder > 0)
	add("held", l.Held.String(), l.Held > 0)
	if len(words) == 0 {
		return "clean"
	}
	return strings.Join(words, " ")
}

// MarshalText implements encoding.TextMarshaler.
func (l Link) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Link) UnmarshalText(text []byte) error {
	if string(text) == "clean" {
		*l = Link{}
		return nil
	}
	parsed, err := ParseLink(string(text))
	if err == nil {
		*l = parsed
	}
	return err
}
