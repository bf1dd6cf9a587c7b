package dynamictest

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Option configures a [Fixture]. Nil options are ignored.
type Option func(*options)

type options struct {
	bus      bus.Bus
	registry *registry.Registry
	server   []dynamic.ServerOption
	register []dynamic.ServiceOption
	conn     []dynamic.ConnOption
}

// WithBus makes the fixture use the bus b, for example a bustest.FaultBus or the bus of a broker.
// The fixture closes b when the test ends. The default is a new in-process bus.
func WithBus(b bus.Bus) Option { return func(o *options) { o.bus = b } }

// WithRegistry makes the conns of the fixture use reg, which must contain the service. Use it if a
// program needs extensions or other services in its registry. The default is a new registry that
// contains only the service.
func WithRegistry(reg *registry.Registry) Option { return func(o *options) { o.registry = reg } }

// WithServerOptions adds options for all servers of the fixture.
func WithServerOptions(opts ...dynamic.ServerOption) Option {
	return func(o *options) { o.server = append(o.server, opts...) }
}

// WithRegisterOptions adds options for the registration of the service on all servers of the
// fixture.
func WithRegisterOptions(opts ...dynamic.ServiceOption) Option {
	return func(o *options) { o.register = append(o.register, opts...) }
}

// WithConnOptions adds options for all conns of the fixture.
func WithConnOptions(opts ...dynamic.ConnOption) Option {
	return func(o *options) { o.conn = append(o.conn, opts...) }
}
