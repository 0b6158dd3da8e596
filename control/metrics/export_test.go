package metrics

import "github.com/prometheus/client_golang/prometheus"

// Gatherer returns what Handler shows.
func (m *Meter) Gatherer() prometheus.Gatherer { return m.registry }
