//go:build !amd64 && !arm64

package fastdecode

const supported = false
