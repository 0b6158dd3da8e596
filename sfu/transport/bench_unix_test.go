//go:build unix

package transport

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkIdle connects 1,000 peers and reports what each costs: CPU of this process for the set-up, then resident
// memory and goroutines while the DTLS connection is at hand, and when it is put away.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		idle(b, 1000)
	}
}

func idle(b *testing.B, n int) {
	b.Helper()
	cfg, _ := server(b, func(c *Config) {
		c.ConnectTimeout = 10 * time.Second
		c.DisconnectedTimeout, c.FailedTimeout = time.Minute, time.Minute
	})
	peers := newCrowd(b)
	defer peers.stop()
	memory, goroutines, cpu := resident(b), runtime.NumGoroutine(), spent(b)
	transports := make([]*Transport, 0, n)
	for range n {
		transports = append(transports, peers.connect(b, cfg))
	}
	report := func(name string, v float64) { b.ReportMetric(v/float64(n), name) }
	report("cpu-ms/setup", float64((spent(b)-cpu).Microseconds())/1000)
	report("fresh-KiB/op", resident(b)-memory)
	report("fresh-goroutines/op", float64(runtime.NumGoroutine()-goroutines))
	for _, t := range transports {
		for tick := time.Tick(100 * time.Millisecond); !t.isParked(); {
			<-tick
		}
	}
	report("parked-KiB/op", resident(b)-memory)
	report("parked-goroutines/op", float64(runtime.NumGoroutine()-goroutines))
	cpu = spent(b)
	<-time.After(5 * time.Second)
	report("idle-cpu-us/s/op", float64((spent(b)-cpu).Microseconds())/5)
	for _, t := range transports {
		if err := t.Close("over"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSetUp connects a peer and closes it again; it reports what that costs this process.
func BenchmarkSetUp(b *testing.B) {
	cfg, _ := server(b)
	peers := newCrowd(b)
	defer peers.stop()
	b.ReportAllocs()
	cpu := spent(b)
	for b.Loop() {
		t := peers.connect(b, cfg)
		if err := t.Close("over"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((spent(b)-cpu).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// resident is this process's memory in KiB.
func resident(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.Fields(kib)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// crowdProcess makes peers.
type crowdProcess struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	end func() error
}

func newCrowd(b *testing.B) *crowdProcess {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), peersVariable+"=1"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return &crowdProcess{cmd, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out)), in.Close}
}

func (c *crowdProcess) stop() {
	_ = c.end()
	_ = c.cmd.Wait()
}

func (c *crowdProcess) connect(b *testing.B, cfg Config) *Transport {
	b.Helper()
	var i invitation
	if err := c.out.Decode(&i); err != nil {
		b.Fatal(err)
	}
	t, err := New(cfg, i.Remote)
	if err != nil {
		b.Fatal(err)
	}
	if err := c.in.Encode(invitation{Local: t.Local()}); err != nil {
		b.Fatal(err)
	}
	if _, err := t.Connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	return t
}
