//go:build !unix

package main

// lockDataDir does nothing where files cannot be locked by the standard
// library: there, nobody but the operator keeps two processes apart.
func lockDataDir(string) (release func() error, err error) {
	return func() error { return nil }, nil
}
