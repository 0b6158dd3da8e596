//go:build !linux

package measure

import (
	"errors"
	"runtime"
	"time"
)

// errNoProc reports a system without Linux's /proc.
var errNoProc = errors.New("measure: a process can be watched on Linux only")

// Process is not known on this system.
func Process(int) (Usage, error) { return Usage{}, errNoProc }

func threadTime() (time.Duration, error) { return 0, errNoProc }

// OwnTime is not known on this system.
func OwnTime() time.Duration { return 0 }

func processors() (model string, count int) { return "", runtime.NumCPU() }

func kernel() string { return "" }
