//go:build !unix

package plugin

import "io/fs"

// openNonblocking is 0: folders have no FIFOs.
const openNonblocking = 0

// fileIdentity returns an empty text, because this system has no cheap way to tell that a file has
// been replaced.
func fileIdentity(fs.FileInfo) string { return "" }
