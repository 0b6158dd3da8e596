package bus_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/securecam/securecam/control/bus"
)

// openNodes opens the nodes of a cluster on loopback; all but the first know only
// the first.
func openNodes(t *testing.T, names ...string) []*bus.Bus {
	t.Helper()
	first := "127.0.0.1:" + strconv.Itoa(freePort(t))
	nodes := make([]*bus.Bus, len(names))
	for i, name := range names {
		c := bus.Cluster{Node: name, Addr: "127.0.0.1:0", Routes: []string{first}, Secret: "between us"}
		if i == 0 {
			c.Addr = first
		}
		nodes[i] = openBus(t, bus.Config{StoreDir: t.TempDir(), Cluster: &c})
	}
	return nodes
}

// freePort returns a port of loopback that nobody listens on, and that the system
// gives to nobody who does not ask for it: it stays free while a server on it is
// started again.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		port := 20_000 + rand.IntN(10_000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			_ = l.Close()
			return port
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// joined waits until two nodes hear each other.
func joined(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	for i, pair := range [][2]*bus.Bus{{a, b}, {b, a}} {
		name := string("xy"[i])
		stop, err := pair[0].Announce(name, "")
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the nodes hear each other", func() bool {
			_, found, err := pair[1].Locate(t.Context(), name)
			return found && err == nil
		})
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// reaches waits until a subscription on another node is known on this one.
func reaches(t *testing.T, b *bus.Bus, subject string) {
	t.Helper()
	eventually(t, subject+" is reached", func() bool {
		_, err := b.Request(t.Context(), subject, []byte("x"))
		return err == nil
	})
}

// TestClusterLearnsNodes has the second and third node know only the first.
func TestClusterLearnsNodes(t *testing.T) {
	t.Parallel()
	nodes := openNodes(t, "a", "b", "c")
	a, b, c := nodes[0], nodes[1], nodes[2]
	joined(t, b, c)
	nobodyListens(t, b, c)
	mustSubscribe(t, c, "echo", func(m bus.Msg) { _ = m.Respond(m.Data) })
	reaches(t, b, "echo")
	stop, err := c.Announce("c", "https://c.example")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "b finds c", func() bool {
		url, found, err := b.Locate(t.Context(), "c")
		return err == nil && found && url == "https://c.example"
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "c is gone for b", func() bool {
		_, found, err := b.Locate(t.Context(), "c")
		return err == nil && !found
	})
	// A node that leaves takes nothing with it.
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	joined(t, b, c)
}

// TestClusterKeepsStrangersOut has a node with another secret knock.
func TestClusterKeepsStrangersOut(t *testing.T) {
	t.Parallel()
	nodes := openNodes(t, "a", "b")
	a, friend := nodes[0], nodes[1]
	stranger := openBus(t, bus.Config{StoreDir: t.TempDir(), Cluster: &bus.Cluster{
		Node: "z", Addr: "127.0.0.1:0", Routes: []string{a.ClusterAddr()}, Secret: "guessed",
	}})
	joined(t, a, friend) // by now the stranger has been refused at least once, too
	mustSubscribe(t, a, "private", func(m bus.Msg) { _ = m.Respond(nil) })
	reaches(t, friend, "private")
	if _, err := stranger.Request(t.Context(), "private", nil); err == nil {
		t.Error("a node with another secret reached the cluster")
	}
}

func TestClusterConfig(t *testing.T) {
	t.Parallel()
	good := bus.Cluster{Node: "a", Addr: "127.0.0.1:0", Routes: []string{"127.0.0.1:1"}, Secret: "s"}
	tests := map[string]func(*bus.Config){
		"no name":    func(c *bus.Config) { c.Cluster.Node = "" },
		"no secret":  func(c *bus.Config) { c.Cluster.Secret = "" },
		"no port":    func(c *bus.Config) { c.Cluster.Addr = "127.0.0.1" },
		"bad port":   func(c *bus.Config) { c.Cluster.Addr = "127.0.0.1:70000" },
		"no route":   func(c *bus.Config) { c.Cluster.Routes = nil },
		"bad route":  func(c *bus.Config) { c.Cluster.Routes = []string{"nats://user:hush@host:1"} },
		"also a URL": func(c *bus.Config) { c.URL = "nats://127.0.0.1:1" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := good
			cfg := bus.Config{StoreDir: t.TempDir(), Cluster: &cluster}
			spoil(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			b, err := bus.Open(ctx, cfg)
			if err == nil {
				_ = b.Close(ctx)
				t.Fatal("opened")
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestWake(t *testing.T) {
	t.Parallel()
	b := openBus(t, bus.Config{StoreDir: t.TempDir()})
	wakes, stop, err := b.Wakes("jobs")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // many wake-ups become one
		if err := b.Wake(t.Context(), "jobs"); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-wakes:
	case <-time.After(patience):
		t.Fatal("not woken")
	}
	if err := b.Wake(t.Context(), "others"); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(wakes) > 1 {
		t.Errorf("%d wake-ups wait", len(wakes))
	}
	if _, _, err := b.Wakes("a b"); err == nil {
		t.Error("took a bad name")
	}
}
