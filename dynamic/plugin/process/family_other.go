//go:build !linux

package process

// killMarked does nothing, because there is no portable way to read the environments of other
// processes.
func killMarked(string) {}

// isNoexec always returns false, because there is no portable way to read the mount options.
func isNoexec(string) bool { return false }
