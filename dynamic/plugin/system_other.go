//go:build !unix

package plugin

import "io/fs"

// openNonblocking is 0, because folders contain no FIFOs on this system.
const openNonblocking = 0

// fileIdentity returns an empty text, because this system has no cheap way to tell that a file has
// been replaced.
func fileIdentity(fs.FileInfo) string { return "" }
