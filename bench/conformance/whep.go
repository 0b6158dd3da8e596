package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

const (
	relEvents = "urn:ietf:params:whep:ext:core:server-sent-events"
	relLayer  = "urn:ietf:params:whep:ext:core:layer"
)

// whipChecks are those of ingest alone.
func whipChecks() []Check {
	return []Check{
		should("whip-second-publisher", "RFC 9110 15.5.10", "a second publisher takes over, or is refused with 409",
			func(ctx context.Context, p *probe) error {
				if _, err := p.up(ctx); err != nil {
					return err
				}
				got, err := p.post(ctx, newOffer(p.protocol).String())
				return errors.Join(err, want("POST while somebody publishes", got, 201, 409))
			}),
		must("whip-simulcast", "RFC 8853 5.3.2", "a simulcast offer is answered with rid and simulcast for receiving, or without both",
			func(ctx context.Context, p *probe) error {
				o := newOffer(p.protocol)
				o.simulcast = true
				s, err := p.openWith(ctx, o)
				if err != nil {
					return err
				}
				video := s.answer.sections[len(s.answer.sections)-1]
				taken := strings.Join(values(video, "simulcast"), " ")
				if taken == "" && !has(video, "rid") {
					return nil
				}
				if !strings.HasPrefix(taken, "recv ") {
					return fmt.Errorf("simulcast %q", taken)
				}
				for _, rid := range values(video, "rid") {
					if f := strings.Fields(rid); len(f) < 2 || f[1] != "recv" || !strings.Contains(taken, f[0]) {
						return fmt.Errorf("rid %q of simulcast %q", rid, taken)
					}
				}
				return nil
			}),
	}
}

// idleChecks are held before anybody publishes.
func idleChecks() []Check {
	idle := func(check func(got response) error) func(context.Context, *probe) error {
		return func(ctx context.Context, p *probe) error {
			got, err := p.post(ctx, newOffer(p.protocol).String())
			if err != nil {
				return err
			}
			if got.status == http.StatusCreated {
				return skip("the server lets players wait")
			}
			return check(got)
		}
	}
	return []Check{
		must("whep-idle", "WHEP 4.3.8", "POST while nobody publishes: 409",
			idle(func(got response) error { return want("POST", got, 409) })),
		must("whep-idle-retry-after", "WHEP 4.3.8", "409 says when to come back", idle(func(got response) error {
			if n, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || n < 0 {
				return fmt.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
			return nil
		})),
	}
}

func whepChecks() []Check {
	return []Check{
		should("whep-head", "WHEP 4.2", "HEAD of the endpoint: 200 with Content-Type application/sdp",
			asked(http.MethodHead, func(got response) error {
				if t := got.header.Get("Content-Type"); !strings.HasPrefix(strings.ToLower(t), typeSDP) {
					return fmt.Errorf("Content-Type %q", t)
				}
				return want("HEAD", got, 200)
			})),
		must("whep-counter-offer", "WHEP 4.3.2", "what is answered 406 is an offer that can be answered", counterOffer),
		must("whep-counter-offer-malformed", "WHEP 4.3.2", "a malformed answer to a counter-offer is refused",
			counterOfferMalformed),
		must("whep-events", "WHEP ext 4", "server-sent events: 201, a stream, DELETE, then 404", events),
		must("whep-events-unknown", "WHEP ext 4", "an event that is not known: 400", eventsUnknown),
		must("whep-layer", "WHEP ext 5", "layer selection: an empty choice is taken, nonsense refused", layer),
	}
}

// counter asks for media in a way that a server with offers of its own refuses: without a section for what it has.
func (p *probe) counter(ctx context.Context) (session, error) {
	o := newOffer(p.protocol)
	unknownCodec(&o)
	got, err := p.post(ctx, o.String())
	if err != nil {
		return session{}, err
	}
	if got.status != http.StatusNotAcceptable {
		return session{}, skip("the server makes no counter-offer")
	}
	t := got.header.Get("Content-Type")
	if !strings.HasPrefix(strings.ToLower(t), typeSDP) {
		return session{}, fmt.Errorf("Content-Type %q", t)
	}
	if _, until, ok := strings.Cut(t, "valid-until="); ok {
		if _, err := http.ParseTime(strings.Trim(until, `"`)); err != nil {
			return session{}, fmt.Errorf("valid-until: %w", err)
		}
	}
	u, err := p.resolve(got.header.Get("Location"))
	if err != nil {
		return session{}, err
	}
	d, err := parse(got.body)
	return session{url: u, answer: d, created: got}, err
}

func counterOffer(ctx context.Context, p *probe) error {
	s, err := p.counter(ctx)
	if err != nil {
		return err
	}
	if err := s.answer.each(func(lines []string) error {
		if !has(lines, "sendonly") && !has(lines, "sendrecv") {
			return errors.New("neither sendonly nor sendrecv")
		}
		return nil
	}); err != nil {
		return err
	}
	c, err := p.newPeer()
	if err != nil {
		return err
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: s.created.body}); err != nil {
		return err
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(answer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	got, err := p.do(ctx, request{method: http.MethodPatch, url: s.url, contentType: typeSDP, body: c.pc.LocalDescription().SDP})
	if err != nil {
		return err
	}
	return errors.Join(want("PATCH of an answer", got, 204), c.flows(ctx, "whep"))
}

func counterOfferMalformed(ctx context.Context, p *probe) error {
	s, err := p.counter(ctx)
	if err != nil {
		return err
	}
	got, err := p.do(ctx, request{method: http.MethodPatch, url: s.url, contentType: typeSDP, body: "no SDP"})
	return errors.Join(err, want("PATCH of a malformed answer", got, 400))
}

// extension returns the URL of an extension, as the 201 names it, and the link's parameters.
func (p *probe) extension(s session, rel string) (string, string, error) {
	for _, link := range splitLinks(s.created.header) {
		target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok || !strings.Contains(params, rel) {
			continue
		}
		base, err := url.Parse(p.endpoint)
		if err != nil {
			return "", "", err
		}
		u, err := base.Parse(target)
		if err != nil {
			return "", "", err
		}
		return u.String(), params, nil
	}
	return "", "", skip("the server has no such extension")
}

func events(ctx context.Context, p *probe) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	u, params, err := p.extension(s, relEvents)
	if err != nil {
		return err
	}
	offered := []string{"active", "inactive"}
	if _, list, ok := strings.Cut(params, `events="`); ok {
		list, _, _ = strings.Cut(list, `"`)
		offered = strings.Split(list, ",")
	}
	wanted, err := json.Marshal(offered)
	if err != nil {
		return err
	}
	got, err := p.do(ctx, request{method: http.MethodPost, url: u, contentType: "application/json", body: string(wanted)})
	if err != nil {
		return err
	}
	if err := want("POST of a list of events", got, 201); err != nil {
		return err
	}
	stream, err := p.resolve(got.header.Get("Location"))
	if err != nil {
		return err
	}
	for _, name := range offered { // those that tell how things are come at once
		if name != "active" && name != "layers" && name != "viewercount" {
			continue
		}
		if err := p.readEvent(ctx, stream, name); err != nil {
			return err
		}
	}
	got, err = p.do(ctx, request{method: http.MethodDelete, url: stream})
	if err != nil {
		return err
	}
	if err := success("DELETE of the stream", got); err != nil {
		return err
	}
	got, err = p.do(ctx, request{method: http.MethodGet, url: stream})
	return errors.Join(err, want("GET of a deleted stream", got, 404))
}

// readEvent reads the stream until an event of that name came, in one line of JSON.
func (p *probe) readEvent(ctx context.Context, stream, name string) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, stream, http.NoBody)
	if err != nil {
		return err
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if t := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || !strings.HasPrefix(t, "text/event-stream") {
		return fmt.Errorf("GET of the stream: %d %q", res.StatusCode, t)
	}
	event := ""
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			event = value
		case "data":
			if !json.Valid([]byte(value)) {
				return fmt.Errorf("event %s: data %.80q is no JSON", event, value)
			}
			if event == name {
				return nil
			}
		}
	}
	return fmt.Errorf("no event %q came in %v", name, connectWithin/time.Second*time.Second)
}

func eventsUnknown(ctx context.Context, p *probe) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	u, _, err := p.extension(s, relEvents)
	if err != nil {
		return err
	}
	got, err := p.do(ctx, request{method: http.MethodPost, url: u, contentType: "application/json", body: `["active","no-such-event"]`})
	return errors.Join(err, want("POST of an unknown event", got, 400))
}

func layer(ctx context.Context, p *probe) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	u, _, err := p.extension(s, relLayer)
	if err != nil {
		return err
	}
	if _, params, err := p.extension(s, relEvents); err != nil || strings.Contains(params, "events=") && !strings.Contains(params, "layers") {
		return fmt.Errorf("layer selection without the layers event: %q", params)
	}
	got, err := p.do(ctx, request{method: http.MethodPost, url: u, contentType: "application/json", body: `{}`})
	if err != nil {
		return err
	}
	if err := want("POST of no choice", got, 200); err != nil {
		return err
	}
	got, err = p.do(ctx, request{method: http.MethodPost, url: u, contentType: "application/json", body: `{"spatialLayerId":"`})
	return errors.Join(err, want("POST of nonsense", got, 400))
}
