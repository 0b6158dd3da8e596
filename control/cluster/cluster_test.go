package cluster_test

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is an object store.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	half    bool  // a killed process left half an object
	err     error // instead of any answer
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data, ok := m.objects[key]; ok || m.err != nil {
		return data, m.err
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Put(_ context.Context, key, _ string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok || m.half {
		return fs.ErrExist
	}
	if m.objects == nil {
		m.objects = map[string][]byte{}
	}
	m.objects[key] = data
	return m.err
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	m.half = false
	return m.err
}

func newBus(t *testing.T) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// heard is a bus on which nobody waits for more answers than there will be.
type heard struct {
	cluster.Bus
	answers int
}

func (h heard) Gather(ctx context.Context, subject string, data []byte, take func([]byte) bool) error {
	got := 0
	return h.Bus.Gather(ctx, subject, data, func(response []byte) bool {
		got++
		return take(response) || got == h.answers
	})
}

// settings are those of one process, of which one other is heard; with changes
// what one of them is not like.
func settings(b *bus.Bus, objects *memory, node string, change func(*cluster.Config)) cluster.Config {
	c := cluster.Config{
		Bus: heard{b, 1}, Objects: objects, Node: node, Database: "database", Secret: "secret",
		Interval: 10 * time.Millisecond, Patience: time.Minute,
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestJoin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*cluster.Config)
		want   string
	}{
		"alike":           {nil, ""},
		"copied folder":   {func(c *cluster.Config) { c.Node = "first" }, "DATA_DIR"},
		"other secret":    {func(c *cluster.Config) { c.Secret = "mine" }, "BETTER_AUTH_SECRET"},
		"other store":     {func(c *cluster.Config) { c.Objects = &memory{} }, "MINIO_ENDPOINT"},
		"other database":  {func(c *cluster.Config) { c.Database, c.Secret, c.Objects = "mine", "mine", &memory{} }, ""},
		"a cluster's own": {func(c *cluster.Config) { c.Database, c.Private = "mine", true }, "DATABASE_URL"},
		"after a crash":   {func(c *cluster.Config) { c.Database, c.Objects = "mine", &memory{half: true} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, objects := newBus(t), &memory{}
			if err := cluster.New(settings(b, objects, "first", nil)).Join(t.Context()); err != nil {
				t.Fatalf("the first: %v", err)
			}
			err := cluster.New(settings(b, objects, "second", test.change)).Join(t.Context())
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error about %q", err, test.want)
			}
		})
	}
}

func TestJoinNeedsTheObjectStore(t *testing.T) {
	t.Parallel()
	if err := cluster.New(settings(newBus(t), &memory{err: fs.ErrPermission}, "first", nil)).Join(t.Context()); err == nil {
		t.Error("joined without a mark")
	}
}

// TestRun has two join that did not see each other: one of them ends.
func TestRun(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	failed := make(chan error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var services []*cluster.Service
	for _, node := range []string{"first", "second"} {
		s := cluster.New(settings(b, &memory{}, node, func(c *cluster.Config) { c.Bus = deaf{heard{b, 2}} })) // themselves, too
		if err := s.Join(context.WithValue(t.Context(), joining{}, true)); err != nil {
			t.Fatal(err)
		}
		services = append(services, s)
	}
	var running sync.WaitGroup
	for _, s := range services {
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	running.Wait()
	if err := <-failed; !strings.Contains(err.Error(), "MINIO_ENDPOINT") || len(failed) != 0 {
		t.Errorf("got %v, and %d more", err, len(failed))
	}
}

// deaf is a bus on which those who join hear of nobody.
type deaf struct{ cluster.Bus }

func (d deaf) Gather(ctx context.Context, subject string, data []byte, take func([]byte) bool) error {
	if ctx.Value(joining{}) != nil {
		return bus.ErrNoResponders
	}
	return d.Bus.Gather(ctx, subject, data, take)
}

type joining struct{}

// TestTheMarkIsMadeAgain holds that a mark that was deleted is no difference.
func TestTheMarkIsMadeAgain(t *testing.T) {
	t.Parallel()
	b, objects := newBus(t), &memory{}
	if err := cluster.New(settings(b, objects, "first", nil)).Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key := range objects.objects {
		if err := objects.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.New(settings(b, objects, "second", nil)).Join(t.Context()); err != nil {
		t.Error(err)
	}
}
