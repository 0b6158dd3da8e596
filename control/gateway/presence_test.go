package gateway_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

func TestPresence(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{OfflineDelay: 20 * time.Millisecond}, nil)
	c := n.connect(t, "1")
	eventually(t, "online", func() bool { return n.presence.last("1") == store.DeviceOnline })
	_ = c.Close()
	eventually(t, "offline", func() bool { return n.presence.last("1") == store.DeviceOffline })
	eventually(t, "nothing is held", func() bool { return n.Stats().Devices == 0 })
	c = n.connect(t, "1")
	eventually(t, "online again", func() bool { return n.presence.last("1") == store.DeviceOnline })
	_ = c.Close()
}

func TestReconnectWithinTheDelayDoesNotFlap(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{OfflineDelay: time.Hour}, nil)
	for range 10 {
		c := n.connect(t, "1")
		_ = c.Close()
		eventually(t, "the connection's end is seen", func() bool { return n.Stats().Connections == 0 })
	}
	c := n.connect(t, "1")
	if !mustSend(t, n, "1", "x", nil) {
		t.Error("not delivered after reconnects")
	}
	c.expect("x")
	eventually(t, "one is held", func() bool { return n.Stats().Devices == 1 })
	if k := n.presence.count("1", store.DeviceOffline); k != 0 {
		t.Errorf("recorded as offline %d times, want never", k)
	}
}

func TestLastOfTwoConnectionsCounts(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{OfflineDelay: 5 * time.Millisecond}, nil)
	a, b, probe := n.connect(t, "1"), n.connect(t, "1"), n.connect(t, "probe")
	_ = a.Close()
	_ = probe.Close() // goes through everything that a's end could have caused
	eventually(t, "the probe is offline", func() bool { return n.presence.last("probe") == store.DeviceOffline })
	if k := n.presence.count("1", store.DeviceOffline); k != 0 {
		t.Error("offline with a connection left")
	}
	_ = b.Close()
	eventually(t, "offline", func() bool { return n.presence.last("1") == store.DeviceOffline })
}

func TestPresenceIsRefreshed(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{PresenceRefresh: 5 * time.Millisecond}, nil)
	n.connect(t, "1")
	eventually(t, "it is written again", func() bool { return n.presence.count("1", store.DeviceOnline) > 3 })
}
