package sfu

import (
	"sync"
	"time"

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
