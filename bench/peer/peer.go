// Package peer holds WebRTC peers that speak WHIP and WHEP to any server: a
// camera that publishes media from files and a viewer that counts what
// arrives. Tests and load generators are built from them.
package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

const (
	maxAnswer      = 1 << 20
	connectTimeout = 15 * time.Second
)

// Endpoint is a WHIP or WHEP URL with the bearer token for it.
type Endpoint struct {
	URL   string
	Token string
}

// StatusError reports a response that was not 201 Created.
type StatusError struct {
	Status int
	Body   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("peer: server answered %d: %s", e.Status, e.Body)
}

// session is one peer connection with the resource that the server made for
// it.
type session struct {
	pc       *webrtc.PeerConnection
	socket   net.PacketConn
	endpoint Endpoint
	resource string // URL of the WHIP or WHEP session
	state    chan webrtc.PeerConnectionState
}

// dial makes the peer connection on a socket of its own, lets prepare add the
// tracks, and negotiates it over HTTP. It returns when media can flow.
func dial(ctx context.Context, e Endpoint, prepare func(*webrtc.PeerConnection) error) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()

	var lc net.ListenConfig
	socket, err := lc.ListenPacket(ctx, "udp", ":0")
	if err != nil {
		return nil, err
	}
	// What pion would log is returned, or is the end that the caller wanted.
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard}
	settings := webrtc.SettingEngine{LoggerFactory: quiet}
	settings.SetICEUDPMux(webrtc.NewICEUDPMux(quiet.NewLogger("ice"), socket))
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	s := &session{pc: pc, socket: socket, endpoint: e, state: make(chan webrtc.PeerConnectionState, 8)}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		select {
		case s.state <- state:
		default:
		}
	})
	if err := prepare(pc); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.negotiate(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *session) negotiate(ctx context.Context) error {
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	answer, err := s.post(ctx, s.pc.LocalDescription().SDP)
	if err != nil {
		return err
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return err
	}
	for {
		select {
		case state := <-s.state:
			switch state {
			case webrtc.PeerConnectionStateConnected:
				return nil
			case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
				return fmt.Errorf("peer: connection %s", state)
			default:
			}
		case <-ctx.Done():
			return fmt.Errorf("peer: connect: %w", ctx.Err())
		}
	}
}

// post sends the offer and remembers the session URL (RFC 9725, section 4.2).
func (s *session) post(ctx context.Context, offer string) (string, error) {
	res, err := s.do(ctx, http.MethodPost, s.endpoint.URL, offer)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", &StatusError{Status: res.StatusCode, Body: string(body)}
	}
	base, err := url.Parse(s.endpoint.URL)
	if err != nil {
		return "", err
	}
	location, err := base.Parse(res.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	s.resource = location.String()
	return string(body), nil
}

func (s *session) do(ctx context.Context, method, target, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.endpoint.Token)
	if body != "" {
		req.Header.Set("Content-Type", "application/sdp")
	}
	return http.DefaultClient.Do(req)
}

// leave deletes the session at the server and closes the connection.
func (s *session) leave(ctx context.Context) error {
	res, err := s.do(ctx, http.MethodDelete, s.resource, "")
	if err == nil {
		err = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			err = &StatusError{Status: res.StatusCode}
		}
	}
	return errors.Join(err, s.close())
}

// vanish cuts the network first, so that the server hears nothing of the end:
// what a killed process or a lost link looks like.
func (s *session) vanish() error {
	return errors.Join(s.socket.Close(), s.pc.Close())
}

func (s *session) close() error {
	return errors.Join(s.pc.Close(), s.socket.Close())
}
