package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/securecam/securecam/bench/measure"
)

// arrival is how long anything may take before it counts as lost.
const arrival = 30 * time.Second

// socket is a device's gateway connection.
type socket struct{ *websocket.Conn }

// envelope is a message of the gateway.
type envelope struct {
	Event string          `json:"event"`
	ID    string          `json:"id,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
}

// connect opens the gateway at base and waits until the device is let in. The
// buffers are small, so that the connections cost the server and not us.
func (d device) connect(ctx context.Context, base string) (socket, error) {
	dialer := websocket.Dialer{HandshakeTimeout: arrival, ReadBufferSize: 1024, WriteBufferSize: 512}
	ws, res, err := dialer.DialContext(ctx, strings.Replace(base, "http", "ws", 1)+"/realtime",
		http.Header{"Authorization": {"Bearer " + d.token}})
	if res != nil {
		_ = res.Body.Close() // what is upgraded has none any more
	}
	if err != nil {
		return socket{}, fmt.Errorf("api: gateway: %w", err)
	}
	s := socket{ws}
	return s, s.await("ready", nil)
}

// await returns when an event is there, with its data in into; others before it
// are skipped.
func (s socket) await(event string, into any) error {
	if err := s.SetReadDeadline(time.Now().Add(arrival)); err != nil {
		return err
	}
	for {
		var e envelope
		if err := s.ReadJSON(&e); err != nil {
			return fmt.Errorf("api: waiting for %s: %w", event, err)
		}
		switch {
		case e.Event == "error":
			return fmt.Errorf("api: waiting for %s: %s", event, e.Data)
		case e.Event != event:
		case into == nil:
			return nil
		default:
			return json.Unmarshal(e.Data, into)
		}
	}
}

// pair is a client that sends commands to a camera.
type pair struct {
	client, camera  device
	sends, receives socket
	pace            *time.Ticker
}

// commandEvery keeps a camera's answers below the 50 messages a second that the
// gateway takes from one connection.
const commandEvery = 25 * time.Millisecond

type command struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// commands measures from the client's request to the event at the camera, and
// on to the client's event that it was answered.
func (r *run) commands(ctx context.Context) ([]Step, error) {
	r.Progress("commands")
	pairs := make([]pair, r.Workers)
	defer func() {
		for _, p := range pairs {
			p.close()
		}
	}()
	for i := range pairs {
		if err := r.open(ctx, &pairs[i]); err != nil {
			return nil, err
		}
	}
	var there, back measure.Histogram
	began := time.Now()
	err := r.work(ctx, func(ctx context.Context, worker int) error { return pairs[worker].roundTrip(ctx, &there, &back) })
	d := time.Since(began)
	return []Step{stepOf("command reaches the camera", &there, d), stepOf("command, answered", &back, d)}, err
}

func (r *run) open(ctx context.Context, p *pair) (err error) {
	p.pace = time.NewTicker(commandEvery)
	_, browser, err := r.signUp(ctx)
	if err != nil {
		return err
	}
	if p.camera, err = browser.register(ctx, "camera"); err != nil {
		return err
	}
	if p.client, err = browser.register(ctx, "client"); err != nil {
		return err
	}
	if p.receives, err = p.camera.connect(ctx, r.CameraURL); err != nil {
		return err
	}
	p.sends, err = p.client.connect(ctx, r.URL)
	return err
}

func (p *pair) close() {
	if p.pace != nil {
		p.pace.Stop()
	}
	for _, s := range []socket{p.sends, p.receives} {
		if s.Conn != nil {
			_ = s.Close()
		}
	}
}

func (p *pair) roundTrip(ctx context.Context, there, back *measure.Histogram) error {
	<-p.pace.C
	began := time.Now()
	arrived := make(chan error, 1)
	var got command
	go func() {
		err := p.receives.await("command:received", &got)
		there.Add(time.Since(began))
		arrived <- err
	}()
	var sent command
	in := map[string]string{"targetDeviceId": p.camera.id, "commandType": "blink"}
	if err := p.client.call(ctx, "POST", "/commands", in, &sent); err != nil {
		return err
	}
	if err := <-arrived; err != nil {
		return err
	}
	answer, err := json.Marshal(map[string]string{"commandId": got.ID, "status": "acknowledged"})
	if err != nil {
		return err
	}
	if err := p.receives.WriteJSON(envelope{Event: "command:ack", Data: answer}); err != nil {
		return err
	}
	var status command
	for status.Status != "acknowledged" {
		if err := p.sends.await("command:status", &status); err != nil {
			return err
		}
	}
	back.Add(time.Since(began))
	if got.ID != sent.ID || status.ID != sent.ID {
		return errLost
	}
	return nil
}

// devicesPerUser keeps the links of one user from growing with the crowd.
const devicesPerUser = 100

// idle opens connections that say nothing, and looks at the server's memory.
func (r *run) idle(ctx context.Context) (Idle, error) {
	r.Progress(fmt.Sprintf("%d idle connections", r.Connections))
	crowd, err := r.crowd(ctx)
	if err != nil {
		return Idle{}, err
	}
	i := Idle{Connections: len(crowd)}
	if i.Before, err = r.settled(ctx); err != nil {
		return Idle{}, err
	}
	sockets := make([]socket, len(crowd))
	defer func() {
		for _, s := range sockets {
			if s.Conn != nil {
				_ = s.Close()
			}
		}
	}()
	began := time.Now()
	err = r.each(len(crowd), func(n int) (err error) {
		sockets[n], err = crowd[n].connect(ctx, r.CameraURL)
		return err
	})
	if err != nil {
		return Idle{}, err
	}
	i.SetUp = time.Since(began)
	i.After, err = r.settled(ctx)
	return i, err
}

// crowd registers as many cameras as there will be connections.
func (r *run) crowd(ctx context.Context) ([]device, error) {
	crowd := make([]device, r.Connections)
	users := (r.Connections + devicesPerUser - 1) / devicesPerUser
	err := r.each(users, func(n int) error {
		_, browser, err := r.signUp(ctx)
		if err != nil {
			return err
		}
		for i := n * devicesPerUser; i < min(len(crowd), (n+1)*devicesPerUser); i++ {
			if crowd[i], err = browser.register(ctx, "camera"); err != nil {
				return err
			}
		}
		return nil
	})
	return crowd, err
}

// each calls f with every number below n, on the workers.
func (r *run) each(n int, f func(n int) error) error {
	numbers := make(chan int, n)
	for i := range n {
		numbers <- i
	}
	close(numbers)
	errs := make(chan error, r.Workers)
	var wg sync.WaitGroup
	for range r.Workers {
		wg.Go(func() {
			for i := range numbers {
				if err := f(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// settle is how long the server gets to give back what setting up took.
const settle = 5 * time.Second

// settled returns the server's memory after a while of rest.
func (r *run) settled(ctx context.Context) (rss int64, err error) {
	if r.PID == 0 {
		return 0, nil
	}
	rest := time.NewTimer(settle)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	usage, err := measure.Process(r.PID)
	return usage.RSS, err
}
