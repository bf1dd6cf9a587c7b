//go:build !unix

package source

// openNonblocking is 0, because there are no FIFOs in the file systems of this operating system.
const openNonblocking = 0
