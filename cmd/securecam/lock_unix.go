//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDataDir holds the data folder for this process: a second one on the same
// folder would take over recordings that the first still writes. The system
// lets go of the lock with the process, however that ends.
func lockDataDir(dir string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("DATA_DIR %s is in use by another securecam", dir), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("DATA_DIR: lock: %w", err), f.Close())
	}
	return f.Close, nil
}
