// Package metrics shows Prometheus the numbers that the parts keep.
//
// A part keeps a snapshot struct, often called Stats, and knows nothing of
// Prometheus; a Source names it. How a field is shown follows from its type:
//
//	uint64, uint32, uint    a counter, with _total at the end of its name
//	int, int64, float64     a gauge
//	bool                    a gauge of 0 or 1
//	time.Duration           a gauge in seconds
//	map[string]any of these one series for each key, in the label that the
//	                        field's tag `label:"…"` names, or "name"
//	a Histogram             a histogram
//	a struct                its fields, under its name unless it is embedded
//
// Anything else is left out. TotalSent beside Sent is sent_total beside sent. The tag `help:"…"` says what a field is.
package metrics

import (
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Namespace begins every name.
const Namespace = "securecam"

// Source is a part that keeps numbers. Snapshot returns a struct, or nil when it
// cannot tell now. It is called once for each scrape, from any goroutine, and
// must not block for long.
type Source struct {
	Name     string // the second word of every name: "sfu"
	Snapshot func() any
}

// Kept is a snapshot that is taken at most once in a period, however often and
// from wherever it is asked for: everybody else gets the last one, also when
// that is nil. Who asks while it is taken waits for it.
func Kept(period time.Duration, now func() time.Time, take func() any) func() any {
	var (
		mu    sync.Mutex // guards last and until, and lets one take it
		last  any
		until time.Time
	)
	return func() any {
		mu.Lock()
		defer mu.Unlock()
		if at := now(); !at.Before(until) {
			last = take()
			until = now().Add(period)
		}
		return last
	}
}

// Histogram is what a field's type has to be shown as one. Counts has one more
// element than Bounds, each counting what lies above the bound before it and
// not above its own. Both may be nil, for nothing yet.
type Histogram interface {
	Histogram() (bounds []float64, counts []uint64, sum float64)
}

// Meter collects everything that is shown. It is safe for concurrent use.
type Meter struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// New returns a Meter of the sources, the Go runtime, the process, and the
// requests that Observe is told of.
func New(sources ...Source) *Meter {
	m := &Meter{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: Namespace, Subsystem: "http", Name: "requests_total", Help: "Requests answered.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: Namespace, Subsystem: "http", Name: "request_seconds",
			Help:    "Time from a request's last byte to its answer's first.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
	}
	m.registry.MustRegister(
		m.requests, m.seconds, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	for _, s := range sources {
		m.registry.MustRegister(&source{prefix: Namespace + "_" + s.Name, name: s.Name, snapshot: s.Snapshot})
	}
	return m
}

// Observe counts a request. Route is the pattern that answered it, empty when
// none did: paths have no bound, and secrets in them.
func (m *Meter) Observe(method, route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(known(method), route, statusText(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// Handler answers a scrape.
func (m *Meter) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

func known(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func statusText(status int) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return string([]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)})
}

// source shows a snapshot. It is an unchecked collector: what a snapshot holds
// is known when it is taken.
type source struct {
	prefix, name string
	snapshot     func() any
}

// Describe is part of prometheus.Collector.
func (s *source) Describe(chan<- *prometheus.Desc) {}

// Collect is part of prometheus.Collector.
func (s *source) Collect(out chan<- prometheus.Metric) {
	s.show(out, field{name: s.prefix, help: s.name}, reflect.ValueOf(s.snapshot()))
}

// field is where in a snapshot a value stands.
type field struct {
	name, help string
	label      string // of the keys of a map
	labels     []string
	values     []string
}

func (f field) metric(out chan<- prometheus.Metric, kind prometheus.ValueType, v float64) {
	name := f.name
	if kind == prometheus.CounterValue {
		name += "_total"
	}
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(name, f.help, f.labels, nil), kind, v, f.values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(prometheus.NewDesc(name, f.help, f.labels, nil), err)
	}
	out <- m
}

func (s *source) show(out chan<- prometheus.Metric, f field, v reflect.Value) {
	if !v.IsValid() {
		return
	}
	if v.CanInterface() {
		switch x := v.Interface().(type) {
		case time.Duration:
			f.name += "_seconds"
			f.metric(out, prometheus.GaugeValue, x.Seconds())
			return
		case time.Time:
			return
		case Histogram:
			f.histogram(out, x)
			return
		}
	}
	switch v.Kind() { //nolint:exhaustive // what has no number is left out
	case reflect.Pointer, reflect.Interface:
		s.show(out, f, v.Elem())
	case reflect.Struct:
		s.fields(out, f, v)
	case reflect.Map:
		s.keys(out, f, v)
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		f.metric(out, prometheus.CounterValue, float64(v.Uint()))
	case reflect.Int, reflect.Int32, reflect.Int64:
		f.metric(out, prometheus.GaugeValue, float64(v.Int()))
	case reflect.Float64:
		f.metric(out, prometheus.GaugeValue, v.Float())
	case reflect.Bool:
		one := 0.0
		if v.Bool() {
			one = 1
		}
		f.metric(out, prometheus.GaugeValue, one)
	}
}

func (s *source) fields(out chan<- prometheus.Metric, f field, v reflect.Value) {
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		if !sf.IsExported() {
			continue
		}
		inner := f
		if !sf.Anonymous {
			inner.name += "_" + snake(strings.TrimPrefix(sf.Name, "Total"))
			inner.help = f.help + ": " + words(sf.Name)
		}
		if help := sf.Tag.Get("help"); help != "" {
			inner.help = help
		}
		inner.label = sf.Tag.Get("label")
		s.show(out, inner, v.Field(i))
	}
}

// maxKeys bounds the series of one map.
const maxKeys = 200

func (s *source) keys(out chan<- prometheus.Metric, f field, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		return
	}
	label := f.label
	if label == "" {
		label = "name"
	}
	for i, key := range v.MapKeys() {
		if i == maxKeys {
			return
		}
		inner := f
		inner.label = ""
		inner.labels = append(append([]string{}, f.labels...), label)
		inner.values = append(append([]string{}, f.values...), key.String())
		s.show(out, inner, v.MapIndex(key))
	}
}

func (f field) histogram(out chan<- prometheus.Metric, h Histogram) {
	bounds, counts, sum := h.Histogram()
	if len(counts) != len(bounds)+1 {
		return
	}
	cumulative := make(map[float64]uint64, len(bounds))
	var n uint64
	for i, bound := range bounds {
		n += counts[i]
		cumulative[bound] = n
	}
	n += counts[len(bounds)]
	desc := prometheus.NewDesc(f.name, f.help, f.labels, nil)
	m, err := prometheus.NewConstHistogram(desc, n, sum, cumulative, f.values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	}
	out <- m
}

// words splits a Go name: PacketsIn becomes "packets in", NACKs "nacks".
func words(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && begins(runes, i) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// begins says whether the capital at i begins a word.
func begins(runes []rune, i int) bool {
	if !unicode.IsUpper(runes[i-1]) {
		return true
	}
	// The last capital of an abbreviation begins the next word, unless what
	// follows is only its plural.
	if i+1 == len(runes) || !unicode.IsLower(runes[i+1]) {
		return false
	}
	plural := runes[i+1] == 's' && (i+2 == len(runes) || unicode.IsUpper(runes[i+2]))
	return !plural
}

func snake(name string) string { return strings.ReplaceAll(words(name), " ", "_") }
