//go:build !unix

package watch

import "io/fs"

// fileIdentity returns an empty string, because this system has no cheap way to tell that a file
// has been replaced.
func fileIdentity(fs.FileInfo) string { return "" }
