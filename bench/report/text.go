package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/securecam/securecam/bench/measure"
)

// row is one line of a table.
type row struct{ name, value string }

// Text writes the result as a table.
func (r Result) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	title := "securecam-bench " + r.Date.Format("2006-01-02 15:04 MST")
	if r.Name != "" {
		title += ", " + r.Name
	}
	fmt.Fprintln(t, title)
	for _, l := range r.rows() {
		fmt.Fprintf(t, "%s\t%s\n", l.name, l.value)
	}
	return t.Flush()
}

func (r Result) rows() []row {
	rows := []row{
		{"machine", MachineText(r.Machine)},
		{"load", r.Load.describe()},
	}
	switch {
	case r.Search != nil && r.Search.Held == 0: // then nothing else is known
	case r.Load.Viewers > 0:
		rows = append(rows, r.Setup.rows()...)
		rows = append(rows, r.Delivery.rows()...)
	default:
		rows = append(rows, row{"published", fmt.Sprintf("%d packets", r.Delivery.Published)})
	}
	if r.Latency.Samples > 0 {
		rows = append(rows, row{"latency", fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms (%d packets)",
			r.Latency.P50, r.Latency.P99, r.Latency.P999, r.Latency.Max, r.Latency.Samples)})
	}
	if d := r.Direct; d != nil {
		rows = append(rows, row{"without a server", fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms (%d packets)",
			d.P50, d.P99, d.P999, d.Max, d.Samples)},
			row{"this machine's noise", fmt.Sprintf("the same work takes %.2f ms, once in a hundred times %.2f ms (%.1f x)",
				d.WorkP50, d.WorkP99, d.WorkP99/d.WorkP50)})
	}
	if r.Server != nil {
		rows = append(rows, r.Server.rows(r.Load.Viewers)...)
	}
	if len(r.Floor) > 0 {
		rows = append(rows, row{"floor", FloorText(r.Floor)})
	}
	if len(r.FloorRead) > 0 {
		rows = append(rows, row{"where receivers read", FloorText(r.FloorRead)})
	}
	rows = append(rows, row{"this program", r.Generator.describe()})
	if r.Search != nil {
		rows = append(rows, r.Search.rows()...)
	}
	return rows
}

// MachineText describes a machine in one line.
func MachineText(m measure.Machine) string {
	return fmt.Sprintf("%s, %d cores, %s, Linux %s, %s", m.CPU, m.Cores, m.System, m.Kernel, m.Go)
}

func (l Load) describe() string {
	sizes := "frames of all sizes"
	if l.Even {
		sizes = "even frames"
	}
	s := fmt.Sprintf("%d cameras, %d viewers, %.0f s, %s %.2f Mbit/s %.0f fps, %s, pace %s",
		l.Cameras, l.Viewers, l.Seconds, l.Video, float64(l.Bitrate)/1e6, l.FPS, sizes, l.Pace)
	if l.Joined {
		s += " in one message"
	}
	if l.Audio {
		s += ", opus"
	}
	if l.Layers > 1 {
		s += fmt.Sprintf(", %d layers", l.Layers)
	}
	if l.MaxHeight > 0 {
		s += fmt.Sprintf(", viewers want %d lines at most", l.MaxHeight)
	}
	if l.Congestion {
		s += ", viewers tell of the way"
	}
	if l.Profile != "" {
		s += ", " + l.Profile
	}
	return s
}

func (s Setup) rows() []row {
	text := fmt.Sprintf("%d connected, %d failed, %.0f a second", s.Connected, s.Failed, s.PerSecond)
	if s.ServerMillis > 0 {
		text += fmt.Sprintf(", %.2f ms of the server's CPU each", s.ServerMillis)
	}
	rows := []row{
		{"set-up", text},
		{"offer to connected", fmt.Sprintf("p50 %.0f ms, p99 %.0f ms", s.ConnectP50, s.ConnectP99)},
		{"offer to first packet", fmt.Sprintf("p50 %.0f ms, p99 %.0f ms", s.FirstPacketP50, s.FirstPacketP99)},
	}
	if s.FirstError != "" {
		rows = append(rows, row{"first failure", s.FirstError})
	}
	if s.NeverAnyPacket > 0 || s.EndedByTheServer > 0 {
		rows = append(rows, row{"attention", fmt.Sprintf("%d viewers never got a packet, %d were ended by the server",
			s.NeverAnyPacket, s.EndedByTheServer)})
	}
	return rows
}

func (d Delivery) rows() []row {
	by := ""
	if d.BySequence {
		by = " (by sequence numbers)"
	}
	checks := fmt.Sprintf("%d opened and checked: %d forged, %d corrupt, %d foreign", d.Opened, d.Forged, d.Corrupt, d.Foreign)
	if d.Unstamped > 0 {
		checks += fmt.Sprintf(", %d without a stamp", d.Unstamped)
	}
	return []row{
		{"delivery", fmt.Sprintf("%.4f%% of %d packets%s, worst viewer %.3f%%, %.0f packets/s",
			100*d.Ratio, d.Expected, by, 100*d.WorstViewer, d.PacketsPerSecond)},
		{"packets", checks},
		{"order", fmt.Sprintf("%d duplicates, %d out of order, %d retransmitted, %d feedbacks on the way",
			d.Duplicates, d.Reordered, d.Retransmitted, d.Feedbacks)},
		{"cameras were asked", fmt.Sprintf("for %d keyframes, for %d packets again", d.KeyframesAsked, d.CameraRepairs)},
	}
}

func (s Server) rows(viewers int) []row {
	cost := fmt.Sprintf("%.2f µs a delivered packet (user %.2f + sys %.2f)", s.Micros, s.UserMicros, s.SysMicros)
	if viewers == 0 {
		cost = fmt.Sprintf("%.2f µs a published packet", s.IngestUs)
	} else if s.FloorRatio > 0 {
		cost += fmt.Sprintf(", %.2f x the floor at %d", s.FloorRatio, s.FloorBurst)
	}
	rows := []row{
		{"server CPU", cost},
		{"server load", fmt.Sprintf("%.2f cores, %.2f threads waiting for one, %.0f voluntary and %.0f involuntary switches a second, %d threads",
			s.Cores, s.Waiting, s.Voluntary, s.Involuntary, s.Threads)},
	}
	memory := fmt.Sprintf("%.1f MiB before the viewers, %.1f MiB after", mib(s.RSSBefore), mib(s.RSSAfter))
	if viewers > 0 {
		memory += fmt.Sprintf(", %.0f KiB a viewer", s.KiBViewer)
	}
	return append(rows, row{"server memory", memory})
}

func (g Generator) describe() string {
	return fmt.Sprintf("%.2f cores, %d datagrams not read in time, %d errors, %d RTCP packets sent", g.Cores, g.Dropped, g.Errors, g.Reports)
}

func (s Search) rows() []row {
	rows := []row{{"viewers held", fmt.Sprintf("%d; the limit was %s", s.Held, s.Limit)}}
	for _, step := range s.Steps {
		rows = append(rows, row{fmt.Sprintf("  at %d", step.Viewers), fmt.Sprintf(
			"delivery %.3f%%, p99 %.1f ms, server %.2f cores, %.2f threads waiting for one, %.2f µs a packet, held: %v",
			100*step.Ratio, step.P99, step.ServerCores, step.Waiting, step.Micros, step.Held)})
	}
	return rows
}

// FloorText writes the floor in one line.
func FloorText(steps []measure.FloorStep) string {
	parts := make([]string, len(steps))
	for i, f := range steps {
		parts[i] = fmt.Sprintf("%.2f µs at %d", f.Micros, f.Segments)
	}
	return "seal and send: " + strings.Join(parts, ", ") + " packets a message"
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
