package testkit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// Fleet is a group of servers, and a conn that calls them. On a network with a broker, each has a
// bus of its own. A Fleet must not be used by several goroutines at once.
type Fleet struct {
	// Servers contains the running servers, the oldest first.
	Servers []*dynamic.Server
	// Registrations contains the registration of the service on each of the servers.
	Registrations []*dynamic.Registration
	Conn          *dynamic.Conn

	tb       testing.TB
	network  Network
	handlers dynamic.Handlers
}

// FleetOption is an option of [NewFleet].
type FleetOption func(*fleetOptions)

type fleetOptions struct {
	servers  int
	handlers dynamic.Handlers
}

// Servers sets the number of servers. The default is 1.
func Servers(count int) FleetOption { return func(o *fleetOptions) { o.servers = count } }

// Handlers sets the handlers of the servers. The default is [Echoes].
func Handlers(handlers dynamic.Handlers) FleetOption {
	return func(o *fleetOptions) { o.handlers = handlers }
}

// NewFleet starts a fleet on network. It is closed when the test ends.
func NewFleet(tb testing.TB, network Network, opts ...FleetOption) *Fleet {
	tb.Helper()
	o := fleetOptions{servers: 1, handlers: Echoes()}
	for _, opt := range opts {
		opt(&o)
	}
	f := &Fleet{tb: tb, network: network, handlers: o.handlers}
	for range o.servers {
		f.Join()
	}
	f.Dial()
	return f
}

// Join starts another server.
func (f *Fleet) Join() {
	f.tb.Helper()
	server, registration := Serve(f.tb, f.network.Connect(f.tb), f.handlers)
	f.Servers, f.Registrations = append(f.Servers, server), append(f.Registrations, registration)
}

// Leave shuts down the oldest server.
func (f *Fleet) Leave() {
	f.tb.Helper()
	require.NoError(f.tb, f.Servers[0].Shutdown(f.tb.Context()))
	f.Servers, f.Registrations = f.Servers[1:], f.Registrations[1:]
}

// Dial replaces the conn with a new one on a new bus. The previous conn remains open until the test
// ends.
func (f *Fleet) Dial() {
	f.tb.Helper()
	f.Conn = Conn(f.tb, f.network.Connect(f.tb))
}

// Caller is like the function [Caller], with the conn of the fleet.
func (f *Fleet) Caller(method string) *dynamic.Client[*api.MyRequest, *api.MyResponse] {
	f.tb.Helper()
	return Caller(f.tb, f.Conn, method)
}
