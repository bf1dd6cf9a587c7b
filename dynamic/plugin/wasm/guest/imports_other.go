//go:build !wasip1

package guest

import (
	"log"
	"log/slog"
)

// hostLog is for tests of handlers, which run without a host.
func hostLog(level slog.Level, message string) {
	log.Println(level, message)
}
