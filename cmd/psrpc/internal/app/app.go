package app

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/schema"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"

	// These packages register the drivers for the URLs of buses.
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
)

// App is one run of the command line. It opens the bus, the conn and the rest when a verb first
// asks for them, and Close releases them. An App is not safe for concurrent use, except for the
// methods that write output.
type App struct {
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer
	// Env returns the value of an environment variable, or "".
	Env func(name string) string
	// Now returns the current time.
	Now func() time.Time
	// Terminal reports whether Out is a terminal.
	Terminal bool
	// GivenBus is used instead of the bus of the settings, unless it is nil. Close does not close it.
	GivenBus bus.Bus
	// ConnOptions are used for the conn, after those of the settings. They must be set before Conn is
	// first called.
	ConnOptions []dynamic.ConnOption
	// Flags contains the values of the common flags.
	Flags Flags

	output   output
	level    *slog.LevelVar
	registry *registry.Registry
	settings *contexts.Context
	schema   *schema.Chain
	bus      bus.Bus
	// unreachable is the error with which opening the bus has failed. Later calls return it,
	// because the bus is not opened a second time.
	unreachable error
	conn        *dynamic.Conn
	fleet       *fleet.Fleet
	// closers releases what was opened, in reverse order.
	closers []func() error
}

// New returns an App with the streams and the environment of the process.
func New() *App {
	return &App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Env: os.Getenv, Now: time.Now,
		Terminal: isTerminal(os.Stdout),
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Close releases what was opened: the conn and the bus, in this order.
func (a *App) Close() error {
	var problems []error
	for _, release := range slices.Backward(a.closers) {
		problems = append(problems, release())
	}
	a.closers, a.bus, a.conn, a.fleet = nil, nil, nil, nil
	return errors.Join(problems...)
}

// OnClose adds a function that Close calls before it releases what was opened earlier.
func (a *App) OnClose(release func() error) { a.closers = append(a.closers, release) }

// Registry returns the registry of the conn. It contains the services whose schemas have been loaded
// so far, from files, from servers or from the cache.
func (a *App) Registry() *registry.Registry {
	if a.registry == nil {
		a.registry = registry.New(registry.WithLogger(a.Logger()))
	}
	return a.registry
}

// Bus returns GivenBus or the bus that the settings name, which the first call opens. If the broker
// is out of reach, the exit code of the error is [ExitUnreachable].
func (a *App) Bus(ctx context.Context) (bus.Bus, error) {
	if a.GivenBus != nil {
		return a.GivenBus, nil
	}
	if a.bus != nil || a.unreachable != nil {
		return a.bus, a.unreachable
	}
	settings, err := a.Settings()
	if err != nil {
		return nil, err
	}
	url, err := busURL(settings)
	if err != nil {
		return nil, err
	}
	opening, cancel := context.WithTimeout(ctx, settings.Timeout)
	defer cancel()
	b, err := a.open(opening, url, settings.Bus == DefaultBus)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, ctx.Err()
	case errors.Is(err, errors.InvalidArgument):
		return nil, Exit(ExitUsage, err)
	case err != nil:
		a.unreachable = Hint(Exit(ExitUnreachable, err), busHint(a, settings))
		return nil, a.unreachable
	}
	a.bus = b
	a.OnClose(b.Close)
	return b, nil
}

// upStart is how long to keep trying to open the bus of the command "psrpc up", which may have just
// been started.
const upStart = 2 * time.Second

// open opens the bus at url. isUp reports whether this is the bus of the command "psrpc up". If
// that bus cannot be reached yet, open tries again for upStart.
func (a *App) open(ctx context.Context, url string, isUp bool) (bus.Bus, error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for start := time.Now(); ; {
		b, err := bus.Open(ctx, url, bus.WithLogger(a.Logger()))
		if !isUp || !errors.Is(err, errors.Unavailable) || time.Since(start) > upStart {
			return b, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Conn returns the conn on the bus of [App.Bus]. The first call creates it, with [App.Registry] and
// the timeout of the settings.
func (a *App) Conn(ctx context.Context) (*dynamic.Conn, error) {
	if a.conn != nil {
		return a.conn, nil
	}
	b, err := a.Bus(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := a.Settings()
	if err != nil {
		return nil, err
	}
	options := []dynamic.ConnOption{dynamic.WithClientTimeout(settings.Timeout), dynamic.WithLogger(a.Logger())}
	conn, err := dynamic.NewConn(b, a.Registry(), append(options, a.ConnOptions...)...)
	if err != nil {
		return nil, err
	}
	a.conn = conn
	a.OnClose(conn.Close)
	return conn, nil
}

// LogLevel returns the lowest level that [App.Logger] writes. The caller may change it.
func (a *App) LogLevel() *slog.LevelVar {
	if a.level == nil {
		a.level = new(slog.LevelVar)
		switch {
		case a.Flags.Quiet:
			a.level.Set(slog.LevelError)
		case a.Flags.Verbose:
			a.level.Set(slog.LevelInfo)
		default:
			a.level.Set(slog.LevelWarn)
		}
	}
	return a.level
}

// AccessLogger returns a logger of requests. It writes lines of JSON to the standard error, also
// with -q.
func (a *App) AccessLogger() *slog.Logger { return slog.New(slog.NewJSONHandler(a.lockedErr(), nil)) }

// Logger returns the logger of the bus, the conn and the registry. It writes warnings to the
// standard error. With -v, it also writes information, and with -q, only errors.
func (a *App) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.lockedErr(), &slog.HandlerOptions{
		Level: a.LogLevel(),
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		},
	}))
}
