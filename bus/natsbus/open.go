package natsbus

import (
	"context"
	"net/url"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func init() { //nolint:gochecknoinits // drivers are registered on import
	bus.MustRegister("nats", open)
	bus.MustRegister("tls", open)
}

// open is the bus.Open driver for nats:// and tls:// URLs. The package comment describes the URL
// parameters.
func open(ctx context.Context, u *url.URL) (bus.Bus, error) {
	settings, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	owner := &owner{}
	owner.dial = func(ctx context.Context) (*nats.Conn, func(), error) {
		return dial(ctx, u, settings, func(err error) { owner.reconnectErr.Store(&err) })
	}
	nc, closeConn, err := owner.dial(ctx)
	if err != nil {
		code := errors.Unavailable
		if errors.Is(err, nats.ErrAuthorization) {
			code = errors.Unauthenticated
		}
		return nil, errors.NewErrorf(code, "nats bus cannot connect to %s: %w%s", u.Host, err, connectAdvice(err))
	}
	owner.closeConn = closeConn
	b, err := newBus(nc, owner, append([]Option{WithLogger(bus.LoggerFromContext(ctx))}, settings.bus...))
	if err != nil {
		closeConn()
		return nil, err
	}
	return b, nil
}
