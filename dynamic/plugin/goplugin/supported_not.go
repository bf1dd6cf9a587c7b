//go:build !cgo || !(linux || darwin || freebsd)

package goplugin

// supported says whether this program can load Go plugins.
const supported = false
