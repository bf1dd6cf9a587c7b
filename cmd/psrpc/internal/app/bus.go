package app

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"

	// These packages register the drivers for the URLs of buses.
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
)

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

// Registry returns the registry of the conn. It contains the services whose schemas have been loaded
// so far, from files, from servers or from the cache.
func (a *App) Registry() *registry.Registry {
	if a.registry == nil {
		a.registry = registry.New(registry.WithLogger(a.Logger()))
	}
	return a.registry
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
