package datachannel

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/logging"
	"github.com/pion/sctp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = &logging.DefaultLoggerFactory{Writer: io.Discard}

// pair connects a Peer with an SCTP client that obeys no limit.
func pair(t *testing.T, cfg Config) (*Peer, *sctp.Association) {
	t.Helper()
	ours, theirs := udpPipe(t)
	if cfg.Receive == nil {
		cfg.Receive = func(Message) {}
	}
	if cfg.Flooded == nil {
		cfg.Flooded = func() {}
	}
	cfg.MaxMessage, cfg.MaxSend = 1<<10, 2<<10
	p := New(cfg)
	var serving sync.WaitGroup
	serving.Go(func() { p.Serve(ours) })
	client, err := sctp.ClientWithOptions(sctp.Config{NetConn: theirs, LoggerFactory: silent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = ours.Close()
		serving.Wait()
	})
	return p, client
}

// udpPipe is two sockets that send to each other, as SCTP wants datagrams.
func udpPipe(t *testing.T) (a, b net.Conn) {
	t.Helper()
	first, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to, ok := first.LocalAddr().(*net.UDPAddr)
	if !ok {
		t.Fatal("no UDP address")
	}
	second, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	back, ok := second.LocalAddr().(*net.UDPAddr)
	if !ok {
		t.Fatal("no UDP address")
	}
	t.Cleanup(func() { _ = first.Close() })
	return &connected{UDPConn: first, to: back}, second
}

type connected struct {
	*net.UDPConn
	to *net.UDPAddr
}

func (c *connected) Write(b []byte) (int, error) { return c.WriteToUDP(b, c.to) }

func dial(t *testing.T, a *sctp.Association, id uint16) *datachannel.DataChannel {
	t.Helper()
	c, err := datachannel.Dial(a, id, &datachannel.Config{Label: "app", LoggerFactory: silent})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func TestMessagesBothWays(t *testing.T) {
	counters, got := &Counters{}, make(chan Message, 1)
	p, client := pair(t, Config{Counters: counters, Receive: func(m Message) { got <- m }})
	if p.Send(Message{Text: true, Data: []byte("nobody listens")}) || counters.Unheard.Load() != 1 {
		t.Error("a message without a channel is not counted as unheard")
	}
	c := dial(t, client, 0)
	if _, err := c.WriteDataChannel([]byte("hello"), true); err != nil {
		t.Fatal(err)
	}
	if m := <-got; !m.Text || string(m.Data) != "hello" {
		t.Fatalf("got %+v", m)
	}
	if !p.Send(Message{Data: []byte{1, 2}}) {
		t.Fatal("the channel is open")
	}
	buffer := make([]byte, 100)
	if n, text, err := c.ReadDataChannel(buffer); err != nil || text || string(buffer[:n]) != "\x01\x02" {
		t.Fatalf("got %q, %v, %v", buffer[:n], text, err)
	}
	if p.Send(Message{Data: make([]byte, 3<<10)}) {
		t.Error("a message beyond MaxSend was taken")
	}
}

func TestTooManyChannels(t *testing.T) {
	counters := &Counters{}
	p, client := pair(t, Config{Counters: counters})
	for id := range uint16(maxChannels + 3) {
		dial(t, client, 2*id)
	}
	eventually(t, "those too many are refused", func() bool { return counters.Refused.Load() == 3 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.channels) > maxChannels {
		t.Errorf("%d channels are open", len(p.channels))
	}
}

// TestChannelsWithoutEnd: a peer that opens and closes channels for ever, never too many at once, is sent away.
func TestChannelsWithoutEnd(t *testing.T) {
	counters, flooded := &Counters{}, make(chan struct{})
	_, client := pair(t, Config{Counters: counters, Flooded: func() { close(flooded) }})
	tick := time.NewTicker(time.Millisecond) // what comes faster the association does not even show
	defer tick.Stop()
	for id := uint16(0); id < 1<<15; id += 2 {
		select {
		case <-flooded:
			if n := counters.Refused.Load(); n < maxRefused {
				t.Errorf("%d were refused", n)
			}
			return
		case <-tick.C:
		}
		stream, err := client.OpenStream(id, sctp.PayloadTypeWebRTCDCEP)
		if err != nil {
			continue // the association ends
		}
		_, _ = stream.WriteSCTP([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, sctp.PayloadTypeWebRTCDCEP)
		_ = stream.Close()
	}
	t.Errorf("the peer goes on, %d refused", counters.Refused.Load())
}

func TestOverlongMessageClosesItsChannel(t *testing.T) {
	counters := &Counters{}
	p, client := pair(t, Config{Counters: counters})
	c := dial(t, client, 0)
	eventually(t, "it is open", p.Open)
	if _, err := c.WriteDataChannel([]byte(strings.Repeat("x", 5<<10)), true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is refused", func() bool { return counters.Refused.Load() == 1 && !p.Open() })
	other := dial(t, client, 2)
	eventually(t, "another one opens", p.Open)
	_ = other.Close()
	eventually(t, "and closes", func() bool { return !p.Open() })
}

// TestNoChannelProtocol: data that open no channel are refused, not waited for.
func TestNoChannelProtocol(t *testing.T) {
	counters := &Counters{}
	_, client := pair(t, Config{Counters: counters})
	for id, raw := range [][]byte{{}, {3}, {3, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}, []byte("hello")} {
		stream, err := client.OpenStream(uint16(2*id), sctp.PayloadTypeWebRTCDCEP)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.WriteSCTP(append(raw, 0), sctp.PayloadTypeWebRTCDCEP); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are refused", func() bool { return counters.Refused.Load() == 4 })
}
