package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"

	"github.com/securecam/securecam/bench/rtc"
	"github.com/securecam/securecam/bench/whip"
	"github.com/securecam/securecam/bench/wire"
)

// Client is what all cameras and viewers of a run share.
type Client struct {
	HTTP *whip.Client
	RTC  rtc.Config
}

// NewClient prepares connections to the server of an endpoint: its address is
// preferred among those that the server offers, and decides which of ours is
// announced.
func NewClient(ctx context.Context, h *whip.Client, p *wire.Poller, endpoint string) (*Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", u.Hostname())
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, errors.New("load: the server has no IPv4 address")
	}
	server := addrs[0].Unmap()
	// Connecting a UDP socket sends nothing; it asks the system for the route.
	probe, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(server, 9)))
	if err != nil {
		return nil, err
	}
	local, ok := probe.LocalAddr().(*net.UDPAddr)
	if err := errors.Join(probe.Close()); err != nil || !ok {
		return nil, errors.Join(errors.New("load: no route to the server"), err)
	}
	certificate, err := rtc.NewCertificate()
	if err != nil {
		return nil, err
	}
	return &Client{HTTP: h, RTC: rtc.Config{
		Poller: p, Certificate: certificate, Advertise: local.AddrPort().Addr().Unmap(), Prefer: server,
	}}, nil
}

// session is a transport with the resource that the server made for it.
type session struct {
	client    *Client
	endpoint  whip.Endpoint
	transport *rtc.Transport
	resource  string
}

// negotiate exchanges descriptions. The transport is not connected yet.
func (s *session) negotiate(ctx context.Context, sections []rtc.Section) (*rtc.Answer, error) {
	reply, err := s.client.HTTP.Post(ctx, s.endpoint, s.transport.Offer(sections))
	s.resource = reply.Session
	if err != nil {
		return nil, err
	}
	if reply.Counter {
		return s.accept(ctx, reply, sections)
	}
	return rtc.ParseAnswer(reply.SDP)
}

// accept answers an offer of the server's own.
func (s *session) accept(ctx context.Context, reply whip.Reply, sections []rtc.Section) (*rtc.Answer, error) {
	if slices.ContainsFunc(sections, func(s rtc.Section) bool { return s.Send }) {
		return nil, errors.New("load: the server answers a camera with an offer")
	}
	offer, err := rtc.ParseOffer(reply.SDP)
	if err != nil {
		return nil, err
	}
	answer, agreed, err := s.transport.Answer(offer, sections)
	if err != nil {
		return nil, err
	}
	return agreed, s.client.HTTP.Answer(ctx, s.endpoint, reply, answer)
}

// close ends the session at the server and the transport.
func (s *session) close(ctx context.Context) error {
	return errors.Join(s.client.HTTP.Delete(ctx, s.endpoint, s.resource), s.transport.Close())
}
