//go:build !unix

package main

import "syscall"

// unprivileged changes nothing: other systems have no root.
func unprivileged(string) (*syscall.SysProcAttr, error) {
	return nil, nil //nolint:nilnil // no change of user is needed
}
