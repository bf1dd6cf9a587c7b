package app

import (
	"context"
	"net/url"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// ConnWith opens another bus on the same broker and returns a conn on it. In the URL of that bus,
// parameter is set to value, or removed if value is empty. Otherwise, the URL is that of [App.Bus].
// The caller calls release when it no longer needs the conn.
func (a *App) ConnWith(ctx context.Context, parameter, value string) (conn *dynamic.Conn, release func(), err error) {
	if a.GivenBus != nil {
		return nil, nil, errors.NewErrorf(errors.Unimplemented, "the bus was given, so that its URL is not known")
	}
	settings, err := a.Settings()
	if err != nil {
		return nil, nil, err
	}
	same, err := busURL(settings)
	if err != nil {
		return nil, nil, err
	}
	base, query, _ := strings.Cut(same, "?")
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return nil, nil, Usagef("the parameters of the bus URL cannot be parsed: percent-encode their values")
	}
	if parameters.Set(parameter, value); value == "" {
		parameters.Del(parameter)
	}
	opening, cancel := context.WithTimeout(ctx, settings.Timeout)
	defer cancel()
	b, err := bus.Open(opening, base+"?"+parameters.Encode(), bus.WithLogger(a.Logger()))
	if err != nil {
		return nil, nil, err
	}
	conn, err = dynamic.NewConn(b, registry.New(), dynamic.WithClientTimeout(settings.Timeout), dynamic.WithLogger(a.Logger()))
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return conn, func() {
		// The verb already has its answers, so an error from closing does not matter.
		_ = conn.Close()
		_ = b.Close()
	}, nil
}
