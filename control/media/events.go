package media

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/control/fault"
)

// What a viewer can be told by server-sent events: WHEP core extensions.
const (
	eventActive      = "active"
	eventInactive    = "inactive"
	eventLayers      = "layers"
	eventViewerCount = "viewercount"
)

func eventNames() []string {
	return []string{eventActive, eventInactive, eventLayers, eventViewerCount}
}

const (
	// eventInterval is how often it is looked what there is to tell, and
	// ratesEvery how many times of it bit rates may be old.
	eventInterval = time.Second
	ratesEvery    = 5
	// maxStreamsASession and maxEventStreams bound what is kept.
	maxStreamsASession, maxEventStreams = 4, 4096
)

var (
	errEventName = fault.New(fault.Invalid, "unknown_event",
		"The body is a list of events: active, inactive, layers, viewercount.")
	errNoEvents      = fault.New(fault.NotFound, "not_found", "There is no such event stream.")
	errTooManyEvents = fault.New(fault.TooMany, "too_many_event_streams", "The session has too many event streams. Delete one.")
)

// Activity is what a media session is doing.
type Activity struct {
	Publishing bool
	Viewers    int
	Layers     []Layer
}

// eventStream is one viewer's stream of events. What it was not told yet
// waits, the latest of each name.
type eventStream struct {
	id, session, media string
	video              int // index of the video section
	names              []string

	mu      sync.Mutex // guards what follows
	waiting map[string][]byte
	order   []string // of waiting
	wake    chan struct{}
	told    Activity
	begun   bool
	age     int // looks since layers were told
	closed  bool
	done    chan struct{}
	reader  chan struct{} // closed when another one reads; nil while nobody has
}

// eventHub keeps the event streams of all sessions.
type eventHub struct {
	sfu     SFU
	refused atomic.Uint64

	mu      sync.Mutex // guards streams
	streams map[string]*eventStream
}

func newEventHub(sfu SFU) *eventHub {
	return &eventHub{sfu: sfu, streams: make(map[string]*eventStream)}
}

// run looks for what there is to tell until ctx ends, and ends the streams then.
func (h *eventHub) run(ctx context.Context) {
	tick := time.NewTicker(eventInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, e := range h.all() {
				h.close(e)
			}
			return
		case <-tick.C:
		}
		states := map[string]Activity{}
		for _, e := range h.all() {
			if !h.sfu.Has(e.session) {
				h.close(e)
				continue
			}
			state, known := states[e.media]
			if !known {
				state = h.sfu.State(e.media)
				states[e.media] = state
			}
			e.tell(state)
		}
	}
}

func (h *eventHub) all() []*eventStream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.streams))
}

// open makes a stream of the named events, of all when none is named.
func (h *eventHub) open(s handle, id string, names []string) error {
	for _, name := range names {
		if !slices.Contains(eventNames(), name) {
			return errEventName
		}
	}
	if len(names) == 0 {
		names = eventNames()
	}
	if !h.sfu.Has(s.SessionID) {
		return errNoSession
	}
	e := &eventStream{
		id: id, session: s.SessionID, media: s.MediaSessionID, video: s.Video, names: names,
		waiting: map[string][]byte{}, wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	e.tell(h.sfu.State(s.MediaSessionID))
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, o := range h.streams {
		if o.session == e.session {
			n++
		}
	}
	if n >= maxStreamsASession || len(h.streams) >= maxEventStreams {
		h.refused.Add(1)
		return errTooManyEvents
	}
	h.streams[id] = e
	return nil
}

// find returns a stream of a session.
func (h *eventHub) find(session, id string) (*eventStream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.streams[id]
	if !ok || e.session != session {
		return nil, errNoEvents
	}
	return e, nil
}

// close ends a stream; what it was not told is dropped.
func (h *eventHub) close(e *eventStream) {
	h.mu.Lock()
	delete(h.streams, e.id)
	h.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		close(e.done)
	}
}

// read makes the caller the stream's only reader, and returns what is closed
// when another one takes its place: an EventSource that lost its connection
// comes back before the server notices, and nobody is to have many.
func (e *eventStream) read() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reader != nil {
		close(e.reader)
		e.retell()
	}
	e.reader = make(chan struct{})
	return e.reader
}

// retell queues all that there is to know: a reader that comes back may have
// missed what its connection lost. Caller holds mu.
func (e *eventStream) retell() {
	clear(e.waiting)
	e.order = nil
	name := eventInactive
	if e.told.Publishing {
		name = eventActive
	}
	e.queue(name, struct{}{})
	e.queue(eventViewerCount, map[string]int{eventViewerCount: e.told.Viewers})
	e.queueLayers(e.told.Layers)
}

// tell queues what has changed since the last time.
func (e *eventStream) tell(now Activity) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := !e.begun
	e.begun = true
	switch {
	case now.Publishing && (first || !e.told.Publishing):
		e.queue(eventActive, struct{}{})
	case !now.Publishing && !first && e.told.Publishing:
		e.queue(eventInactive, struct{}{})
	}
	if first || now.Viewers != e.told.Viewers {
		e.queue(eventViewerCount, map[string]int{eventViewerCount: now.Viewers})
	}
	if e.age++; (first || !sameLayers(now.Layers, e.told.Layers) || e.age >= ratesEvery) && len(now.Layers)+len(e.told.Layers) > 0 {
		e.age = 0
		e.queueLayers(now.Layers)
	}
	e.told = now
}

func (e *eventStream) queueLayers(layers []Layer) {
	e.queue(eventLayers, map[string][]layerEvent{strconv.Itoa(e.video): layerEvents(layers)})
}

// queue has an event wait, in place of one of its name. Caller holds mu.
func (e *eventStream) queue(name string, data any) {
	if !slices.Contains(e.names, name) {
		return
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return // numbers and short strings marshal
	}
	// Active and inactive follow one another: the older one is void.
	opposite := map[string]string{eventActive: eventInactive, eventInactive: eventActive}[name]
	for _, old := range []string{name, opposite} {
		if _, waits := e.waiting[old]; waits {
			delete(e.waiting, old)
			e.order = slices.DeleteFunc(e.order, func(n string) bool { return n == old })
		}
	}
	e.waiting[name] = raw
	e.order = append(e.order, name)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// take returns what waits, in the form of the stream.
func (e *eventStream) take() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []byte
	for _, name := range e.order {
		out = append(out, "event: "+name+"\ndata: "...)
		out = append(append(out, e.waiting[name]...), "\n\n"...)
	}
	clear(e.waiting)
	e.order = nil
	return out
}

// layerEvent is a layer in the words of the extension.
type layerEvent struct {
	RID        string `json:"rid,omitempty"`
	SpatialID  int    `json:"spatialLayerId"`
	TemporalID int    `json:"temporalLayerId"`
	Bitrate    int    `json:"bitrate,omitempty"` // absent: not sent now
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
}

func layerEvents(layers []Layer) []layerEvent {
	out := make([]layerEvent, 0, len(layers))
	for _, l := range layers {
		e := layerEvent{
			RID: l.RID, SpatialID: max(l.SpatialLayers-1, 0), TemporalID: max(l.TemporalLayers-1, 0),
			Bitrate: l.Bitrate, Width: l.Width, Height: l.Height,
		}
		if !l.Active {
			e.Bitrate = 0
		}
		out = append(out, e)
	}
	return out
}

// sameLayers compares all but the rates, which always change.
func sameLayers(a, b []Layer) bool {
	return slices.EqualFunc(a, b, func(x, y Layer) bool {
		x.Bitrate, y.Bitrate, x.FramesPerSec, y.FramesPerSec = 0, 0, 0, 0
		return x == y
	})
}
