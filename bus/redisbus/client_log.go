package redisbus

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// init installs clientLogger as the logger of go-redis, which has one logger for the whole program.
// By default, go-redis writes to standard error for each failed attempt to connect, although the
// bus reports the failure itself. It also writes two lines for each connection that it opens with
// the help of Sentinel. A program that calls redis.SetLogger replaces this logger and gets all
// lines.
func init() { //nolint:gochecknoinits // a later call could replace a logger that the program has set
	redis.SetLogger(newClientLogger(os.Stderr))
}

// clientLogger is a logger for go-redis. It omits the lines about connections of a bus. All other
// lines look as go-redis writes them by default.
type clientLogger struct{ log *log.Logger }

func newClientLogger(w io.Writer) clientLogger {
	return clientLogger{log.New(w, "redis: ", log.LstdFlags|log.Lshortfile)}
}

// Printf implements the interface that redis.SetLogger needs.
func (l clientLogger) Printf(ctx context.Context, format string, args ...any) {
	if ctx.Value(ofBusKey{}) != nil {
		return
	}
	for _, arg := range args {
		if err, ok := arg.(error); ok && isDialerError(err) {
			return
		}
	}
	const caller = 3 // the function of go-redis that has called its logger
	_ = l.log.Output(caller, fmt.Sprintf(format, args...))
}

// ofBusKey is the context key by which clientLogger recognizes the lines about connections of a
// bus.
type ofBusKey struct{}

// ofBus returns a context that marks calls of go-redis as calls of a bus. clientLogger omits the
// lines about such calls.
func ofBus(ctx context.Context) context.Context { return context.WithValue(ctx, ofBusKey{}, true) }

// dialerError is the error of a dialer that could not connect; see newDialer. go-redis logs such
// errors with contexts of its own, so clientLogger recognizes them by their type.
type dialerError struct{ error }

func (e dialerError) Unwrap() error { return e.error }

func isDialerError(err error) bool {
	_, ok := errors.AsType[dialerError](err)
	return ok
}
