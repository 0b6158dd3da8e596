package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of times in /proc/PID/stat, 1/100 s on every Linux.
const clockTick = 10 * time.Millisecond

// Process reads what a process has used so far. A thread that has ended takes
// its share of the scheduler's account along; the tick's account, which keeps
// it, decides when it says more.
func Process(pid int) (Usage, error) {
	root := filepath.Join("/proc", strconv.Itoa(pid))
	u, err := readStat(filepath.Join(root, "stat"))
	if err != nil {
		return Usage{}, err
	}
	tasks, err := os.ReadDir(filepath.Join(root, "task"))
	if err != nil {
		return Usage{}, err
	}
	for _, task := range tasks {
		dir := filepath.Join(root, "task", task.Name())
		if err := u.addTask(dir); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return Usage{}, err
		}
	}
	u.CPU = max(u.CPU, u.User+u.System-2*clockTick)
	return u, nil
}

func readStat(path string) (Usage, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Usage{}, err
	}
	// The name in parentheses may hold anything.
	_, rest, ok := bytes.Cut(b[bytes.LastIndexByte(b, ')'):], []byte(" "))
	f := strings.Fields(string(rest))
	if !ok || len(f) < 22 {
		return Usage{}, fmt.Errorf("measure: cannot read %s", path)
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(f[i-3], 10, 64) // field numbers of proc(5) begin with 1, f with field 3
		return n
	}
	return Usage{
		User: time.Duration(number(14)) * clockTick, System: time.Duration(number(15)) * clockTick,
		Threads: int(number(20)), RSS: number(24) * int64(os.Getpagesize()),
	}, nil
}

// addTask adds one thread: its time on a processor and its context switches.
func (u *Usage) addTask(dir string) error {
	schedstat, err := os.ReadFile(filepath.Join(dir, "schedstat"))
	if err != nil {
		return err
	}
	var ran, waited int64
	if _, err := fmt.Sscan(string(schedstat), &ran, &waited); err != nil {
		return err
	}
	u.CPU += time.Duration(ran)
	u.Waited += time.Duration(waited)
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		switch name {
		case "voluntary_ctxt_switches":
			u.Voluntary += n
		case "nonvoluntary_ctxt_switches":
			u.Involuntary += n
		}
	}
	return nil
}

// threadTime returns the CPU time of the calling thread.
func threadTime() (time.Duration, error) {
	var u unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Nano()), nil
}

// OwnTime returns the CPU time of this process.
func OwnTime() time.Duration {
	var u unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &u) != nil {
		return 0
	}
	return time.Duration(u.Nano())
}

// processors returns the model and how many the machine has, also those that
// this process may not use.
func processors() (model string, count int) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", runtime.NumCPU()
	}
	for line := range strings.Lines(string(b)) {
		switch name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) {
		case "processor":
			count++
		case "model name":
			model = strings.TrimSpace(value)
		}
	}
	return model, max(count, runtime.NumCPU())
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
