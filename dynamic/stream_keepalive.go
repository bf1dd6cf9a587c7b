package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
)

const (
	// DefaultKeepalive is the default keepalive interval of streams. See [WithKeepalive].
	DefaultKeepalive = 10 * time.Second
	// MinimumKeepalive is the shortest keepalive interval. [WithKeepalive] replaces shorter
	// intervals by this one.
	MinimumKeepalive = stream.MinimumKeepalive
)

// keepaliveInterval converts an argument of WithKeepalive to the interval to use. It returns 0 if
// keepalives are disabled.
func keepaliveInterval(option time.Duration) time.Duration {
	switch {
	case option == 0:
		return DefaultKeepalive
	case option < 0:
		return 0
	default:
		return max(option, MinimumKeepalive)
	}
}
