package scene

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// Quiet keeps what buses and their clients log about links that break out of the tests' output, for the whole process.
func Quiet() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(silence{})
}

// silence takes what go-redis says.
type silence struct{}

// Printf implements go-redis' logger.
func (silence) Printf(context.Context, string, ...any) {}
