package sfu

import (
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// freshNet is the standard network with a list of interfaces that follows the machine: pion's own is read once, and
// a camera box often starts before its network does.
type freshNet struct {
	*stdnet.Net
	mu      sync.Mutex // guards what follows
	current *stdnet.Net
	read    time.Time
}

// interfacesAge is how old the list of interfaces may be.
const interfacesAge = 5 * time.Second

func newFreshNet() (*freshNet, error) {
	n, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	return &freshNet{Net: n, current: n, read: time.Now()}, nil
}

// Interfaces returns the machine's interfaces of a few seconds ago at most.
func (f *freshNet) Interfaces() ([]*transport.Interface, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.read) > interfacesAge {
		n, err := stdnet.NewNet()
		if err != nil {
			return nil, err
		}
		f.current, f.read = n, time.Now()
	}
	return f.current.Interfaces()
}

// quiet makes loggers that say nothing: what pion would report is either counted or ends a session with a reason.
type quiet struct{}

// NewLogger implements logging.LoggerFactory.
func (quiet) NewLogger(string) logging.LeveledLogger { return silent{} }

type silent struct{}

func (silent) Trace(string)          {}
func (silent) Tracef(string, ...any) {}
func (silent) Debug(string)          {}
func (silent) Debugf(string, ...any) {}
func (silent) Info(string)           {}
func (silent) Infof(string, ...any)  {}
func (silent) Warn(string)           {}
func (silent) Warnf(string, ...any)  {}
func (silent) Error(string)          {}
func (silent) Errorf(string, ...any) {}
