package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// burstWorkers is how many requests of a burst are under way at a time.
const burstWorkers = 8

// loadChecks are about who asks too much: RFC 9725, section 5, wants POST, PATCH and DELETE limited in their rate. What a
// server does not refuse was not provoked, which is no fault: its limit may be higher.
func loadChecks() []Check {
	malformed := func(_ context.Context, _ *probe) (request, error) {
		return request{method: http.MethodPost, contentType: typeSDP, body: "this is no SDP"}, nil
	}
	stale := func(ctx context.Context, p *probe) (request, error) {
		s, err := p.open(ctx)
		return request{
			method: http.MethodPatch, url: s.url, contentType: typeSDPFrag, body: s.offer.fragment(hostCandidate),
			header: http.Header{"If-Match": {`"no-such-tag"`}},
		}, err
	}
	gone := func(ctx context.Context, p *probe) (request, error) {
		s, err := p.open(ctx)
		return request{method: http.MethodDelete, url: s.url + "x"}, err
	}
	return []Check{
		should("rate-post", "5", "too many POSTs are answered 429, and after a pause served again", burst(malformed)),
		should("rate-patch", "5", "too many PATCHes are answered 429, and after a pause served again", burst(stale)),
		should("rate-delete", "5", "too many DELETEs are answered 429, and after a pause served again", burst(gone)),
		should("overload", "4.5", "a server that is full or about to stop answers POST with 503 and Retry-After", overload),
	}
}

// burst sends what make makes, again and again, until it is refused.
func burst(makeRequest func(ctx context.Context, p *probe) (request, error)) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		if p.load.Burst <= 0 {
			return skip("not provoked: no burst was asked for")
		}
		r, err := makeRequest(ctx, p)
		if err != nil {
			return err
		}
		began := time.Now()
		sent, refusal, err := p.flood(ctx, r)
		switch {
		case err != nil:
			return err
		case refusal == nil:
			return skip(fmt.Sprintf("not provoked: %d in %v were all answered otherwise", sent, time.Since(began).Round(time.Millisecond)))
		}
		pause, err := retryAfter(*refusal)
		if err != nil {
			return fmt.Errorf("429 after %d requests: %w", sent, err)
		}
		select {
		case <-time.After(min(pause, maxPause)):
		case <-ctx.Done():
			return ctx.Err()
		}
		got, err := p.once(ctx, r)
		if err == nil && pause <= maxPause && got.status == http.StatusTooManyRequests {
			err = fmt.Errorf("429 again after the %v that the first one asked for", pause)
		}
		return err
	}
}

// flood sends a request up to Burst times, several at once. It returns how many were sent, and the first 429.
func (p *probe) flood(ctx context.Context, r request) (sent int, refusal *response, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for range burstWorkers {
		all.Go(func() {
			for {
				mu.Lock()
				over := sent >= p.load.Burst || refusal != nil || err != nil
				if !over {
					sent++
				}
				mu.Unlock()
				if over {
					return
				}
				got, failed := p.unbroken(ctx, r)
				mu.Lock()
				if err == nil {
					err = failed
				}
				if got.status == http.StatusTooManyRequests && refusal == nil {
					refusal = &got
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return sent, refusal, err
}

// unbroken sends a request, which may be refused but not break the server.
func (p *probe) unbroken(ctx context.Context, r request) (response, error) {
	got, err := p.once(ctx, r)
	if err == nil && got.status >= 500 && got.status != http.StatusServiceUnavailable {
		err = want("a request of a burst", got, 429, 400)
	}
	return got, err
}

// retryAfter reads when to come back: RFC 9110, section 10.2.3.
func retryAfter(got response) (time.Duration, error) {
	v := got.header.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, nil
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0), nil
	}
	return 0, fmt.Errorf("Retry-After %q does not say when to come back", v)
}

// overload asks a server that was said to be busy, or opens sessions until this one is.
func overload(ctx context.Context, p *probe) error {
	if p.load.busy != "" {
		busy := &probe{http: p.http, protocol: p.protocol, endpoint: p.load.busy, token: p.load.busyToken}
		got, err := busy.once(ctx, request{method: http.MethodPost, contentType: typeSDP, body: newOffer(p.protocol).String()})
		if err != nil {
			return err
		}
		busy.remember(got)
		busy.cleanUp(ctx)
		return busyAnswer(got)
	}
	if p.protocol == "whip" {
		return skip("not provoked: a camera has but one session, so that takes an endpoint of a server that is busy")
	}
	if p.load.Sessions <= 0 {
		return skip("not provoked: no sessions were asked for")
	}
	opened := 0
	for ; opened < p.load.Sessions; opened++ {
		got, err := p.once(ctx, request{method: http.MethodPost, contentType: typeSDP, body: newOffer(p.protocol).String()})
		if err != nil {
			return err
		}
		p.remember(got)
		if got.status == http.StatusServiceUnavailable {
			return busyAnswer(got)
		}
		if got.status != http.StatusCreated {
			return skip(fmt.Sprintf("not provoked: after %d sessions it is %d", opened, got.status))
		}
	}
	return skip(fmt.Sprintf("not provoked: %d sessions were opened", opened))
}

func busyAnswer(got response) error {
	if err := want("POST to a busy server", got, 503); err != nil {
		return err
	}
	_, err := retryAfter(got)
	return err
}

// secure holds that the endpoint is reached by HTTPS, unless nothing leaves the machine.
func secure(_ context.Context, p *probe) error {
	u, err := url.Parse(p.endpoint)
	if err != nil {
		return err
	}
	if host := u.Hostname(); host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.") {
		return skip("nothing leaves the machine")
	}
	if u.Scheme != "https" {
		return errors.New("the scheme is " + u.Scheme)
	}
	return nil
}
