package testkit

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// Quiet turns off the default slog logger and the logger of go-redis for the whole process. Buses
// and their clients would otherwise log every connection that a test breaks.
func Quiet() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(silence{})
}

// silence is a logger for go-redis that discards all messages.
type silence struct{}

// Printf does nothing. It implements the logger interface of go-redis.
func (silence) Printf(context.Context, string, ...any) {}
