//go:build !linux

package process

// killMarked does nothing: the environments of other processes cannot be read in a portable way.
func killMarked(string) {}

// isNoexec returns false.
func isNoexec(string) bool { return false }
