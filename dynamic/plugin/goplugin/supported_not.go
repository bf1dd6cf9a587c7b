//go:build !cgo || !(linux || darwin || freebsd)

package goplugin

// supported reports whether this program can load Go plugins.
const supported = false
