package sfu

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/transport"
)

// receiveMTU is the largest RTP packet that is read.
const receiveMTU = 1500

// nackTries is how often a lost packet is asked for before it is given up.
const nackTries = 10

// engine makes PeerConnections that share a socket and a certificate.
type engine struct {
	socket      *socket
	settings    webrtc.SettingEngine
	certificate webrtc.Certificate
	transport   transport.Config // of viewers
}

func newEngine(c Config) (*engine, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("sfu: certificate: %w", err)
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("sfu: certificate: %w", err)
	}
	chain, err := certificateChain(key)
	if err != nil {
		return nil, fmt.Errorf("sfu: certificate: %w", err)
	}
	socket, err := listen(c.UDPAddr, c.PublicIPs)
	if err != nil {
		return nil, err
	}
	e := &engine{socket: socket, certificate: *certificate}
	if err := e.configure(c); err != nil {
		_ = socket.close()
		return nil, fmt.Errorf("sfu: %w", err)
	}
	e.transport = transport.Config{
		Mux: socket.mux, Net: socket.net, Certificate: chain, PublicIPs: c.PublicIPs, Loopback: true,
		ConnectTimeout: c.ConnectTimeout, DisconnectedTimeout: c.PublisherTimeout / 2, FailedTimeout: c.PublisherTimeout / 2,
		Logger: c.Logger,
	}
	return e, nil
}

// certificateChain signs a certificate with a life that outlasts any process: peers compare its fingerprint only.
func certificateChain(key *ecdsa.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "securecam"},
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, err
}

func (e *engine) configure(c Config) error {
	s := &e.settings
	s.LoggerFactory = quiet{}
	s.SetNet(e.socket.net)
	s.SetICEUDPMux(e.socket.mux)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIncludeLoopbackCandidate(true)
	s.SetICETimeouts(c.PublisherTimeout/2, c.PublisherTimeout/2, c.PublisherTimeout/5)
	s.SetReceiveMTU(receiveMTU)
	// As DTLS server pion chooses the SRTP profile by its own order. GCM costs a quarter of CTR with SHA-1.
	s.SetSRTPProtectionProfiles(
		dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	)
	if err := s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return err
	}
	if len(c.PublicIPs) == 0 {
		return nil
	}
	return s.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
		External: addrStrings(c.PublicIPs), AsCandidateType: webrtc.ICECandidateTypeHost,
		Mode: webrtc.ICEAddressRewriteReplace,
	})
}

func addrStrings(addrs []netip.Addr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

// connect makes a PeerConnection that negotiates exactly the given formats.
func (e *engine) connect(r role, specs []spec) (*webrtc.PeerConnection, error) {
	media := &webrtc.MediaEngine{}
	for _, sp := range specs {
		if err := register(media, sp, r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
	}
	registry := &interceptor.Registry{}
	if r == publish {
		if err := uplink(media, registry); err != nil {
			return nil, err
		}
	}
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(e.settings), webrtc.WithInterceptorRegistry(registry),
	)
	return api.NewPeerConnection(webrtc.Configuration{
		Certificates: []webrtc.Certificate{e.certificate}, BundlePolicy: webrtc.BundlePolicyMaxBundle,
	})
}

// register adds a format under the peer's own payload type and parameters.
func register(media *webrtc.MediaEngine, sp spec, r role) error {
	var feedback []webrtc.RTCPFeedback
	if sp.kind == video {
		feedback = []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	}
	if r == publish {
		feedback = append(feedback, webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC})
	}
	err := media.RegisterCodec(webrtc.RTPCodecParameters{
		PayloadType: webrtc.PayloadType(sp.payloadType),
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: sp.mimeType, ClockRate: sp.clockRate, Channels: sp.channels, SDPFmtpLine: sp.fmtp,
			RTCPFeedback: feedback,
		},
	}, sp.kind.pion())
	if err != nil || sp.rtx == 0 {
		return err
	}
	return media.RegisterCodec(webrtc.RTPCodecParameters{
		PayloadType: webrtc.PayloadType(sp.rtx),
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: sp.clockRate, SDPFmtpLine: fmt.Sprintf("apt=%d", sp.payloadType),
		},
	}, sp.kind.pion())
}

// uplink gives a publisher's PeerConnection what speaks back to the camera: NACKs, receiver reports, congestion
// feedback. Viewers get none of it: their NACKs are answered from the shared ring, their reports come from shards.
func uplink(media *webrtc.MediaEngine, registry *interceptor.Registry) error {
	for _, k := range []kind{audio, video} {
		err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.TransportCCURI}, k.pion())
		if err != nil {
			return err
		}
	}
	nacks, err := nack.NewGeneratorInterceptor(
		nack.GeneratorMaxNacksPerPacket(nackTries), nack.WithGeneratorLoggerFactory(quiet{}),
	)
	if err != nil {
		return err
	}
	reports, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(quiet{}))
	if err != nil {
		return err
	}
	congestion, err := twcc.NewSenderInterceptor(twcc.WithLoggerFactory(quiet{}))
	if err != nil {
		return err
	}
	registry.Add(nacks)
	registry.Add(reports)
	registry.Add(congestion)
	return nil
}
