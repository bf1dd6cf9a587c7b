//go:build !unix

package plugin

import "io/fs"

// openNonblocking is 0, because there are no FIFOs in the file systems of this operating system.
const openNonblocking = 0

// fileIdentity returns an empty string, because this system has no cheap way to tell that a file
// has been replaced.
func fileIdentity(fs.FileInfo) string { return "" }
