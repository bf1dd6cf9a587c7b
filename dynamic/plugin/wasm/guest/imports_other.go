//go:build !wasip1

package guest

import (
	"log"
	"log/slog"
)

// hostLog writes to the standard logger, so that tests can call handlers without a host.
func hostLog(level slog.Level, message string) {
	log.Println(level, message)
}
