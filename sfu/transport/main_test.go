package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	dtlsnet "github.com/pion/dtls/v3/pkg/net"
	"github.com/pion/ice/v4"
	"github.com/pion/transport/v5/stdnet"
	"go.uber.org/goleak"
)

// peersVariable makes the test binary a crowd of peers instead: they are to cost another process.
const peersVariable = "TRANSPORT_BENCH_PEERS"

func TestMain(m *testing.M) {
	if os.Getenv(peersVariable) != "" {
		if err := crowd(os.Stdin, os.Stdout); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// invitation is what is said between the processes.
type invitation struct {
	Remote Remote // the peer's
	Local  Local  // ours
}

// crowd is the other process: it says what a new peer offers, reads what it is answered, and connects it.
func crowd(in *os.File, out *os.File) error {
	std, err := stdnet.NewNet()
	if err != nil {
		return err
	}
	shared, err := dtlsOfPeers()
	if err != nil {
		return err
	}
	say, hear := json.NewEncoder(out), json.NewDecoder(bufio.NewReader(in))
	for {
		agent, remote, err := newPeer(std)
		if err != nil {
			return err
		}
		remote.Fingerprints = shared.fingerprints
		if err := say.Encode(invitation{Remote: remote}); err != nil {
			return nil //nolint:nilerr // the benchmark is over
		}
		var i invitation
		if err := hear.Decode(&i); err != nil {
			return nil //nolint:nilerr // the benchmark is over
		}
		if err := shared.dial(agent, i.Local); err != nil {
			return err
		}
	}
}

// newPeer makes an ICE agent with a socket of its own: the server tells peers apart by their address.
func newPeer(std *stdnet.Net) (*ice.Agent, Remote, error) {
	r := Remote{Setup: "active"}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, r, err
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: silent{}, UDPConn: conn, Net: std})
	r.Ufrag, r.Pwd = newCredentials()
	agent, err := ice.NewAgentWithOptions(
		ice.WithUDPMux(mux), ice.WithNet(std), ice.WithLoggerFactory(quiet{}), ice.WithIncludeLoopback(),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithLocalCredentials(r.Ufrag, r.Pwd),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
	)
	if err != nil {
		return nil, r, err
	}
	if err := agent.OnCandidate(func(ice.Candidate) {}); err != nil {
		return nil, r, err
	}
	udp, _ := conn.LocalAddr().(*net.UDPAddr)
	r.Candidates = advertised{host: []netip.AddrPort{udp.AddrPort()}}.describe()
	return agent, r, agent.GatherCandidates()
}

// peersDTLS is what all peers share.
type peersDTLS struct {
	options      []dtls.ClientOption
	fingerprints []Fingerprint
}

func dtlsOfPeers() (*peersDTLS, error) {
	c, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return nil, err
	}
	f, err := fingerprintOf(c)
	return &peersDTLS{
		options: []dtls.ClientOption{
			dtls.WithCertificates(c), dtls.WithInsecureSkipVerify(true), dtls.WithLoggerFactory(quiet{}),
			dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM),
		},
		fingerprints: []Fingerprint{f},
	}, err
}

func (d *peersDTLS) dial(agent *ice.Agent, l Local) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, line := range l.Candidates {
		c, err := parseCandidate(line)
		if err != nil {
			return err
		}
		if err := agent.AddRemoteCandidate(c); err != nil {
			return err
		}
	}
	conn, err := agent.Dial(ctx, l.Ufrag, l.Pwd)
	if err != nil {
		return err
	}
	client, err := dtls.ClientWithOptions(dtlsnet.PacketConnFromConn(conn), peer{}, d.options...)
	if err != nil {
		return err
	}
	_ = client.HandshakeContext(ctx) // the server may have said goodbye already, and reports what else goes wrong
	return nil
}
