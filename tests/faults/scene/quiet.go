package scene

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// Quiet discards the logs of buses and their clients about broken connections, in the whole
// process.
func Quiet() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(silence{})
}

// silence is a logger of go-redis that discards everything.
type silence struct{}

// Printf implements go-redis' logger.
func (silence) Printf(context.Context, string, ...any) {}
