package dynamictest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Fixture is a server that serves one service, and a conn that can call it. They are closed when
// the test ends.
type Fixture struct {
	// Bus connects the servers and conns. If a test sets Bus to another bus, that bus is used by
	// servers and conns that are added later. A conn can thus have a connection of its own. The
	// fixture does not close a bus that the test has set.
	Bus bus.Bus
	// Server is the first server. Its ID is SRV_test1.
	Server *dynamic.Server
	// Registration is the service on Server. Use it to register topics and to publish updates.
	Registration *dynamic.Registration
	// Conn is the first conn. Its ID is CLI_test1.
	Conn *dynamic.Conn

	tb      testing.TB
	options options
	service any
	// registry is the registry of the conns.
	registry *registry.Registry
	logger   *slog.Logger
	servers  []*dynamic.Server
	conns    []*dynamic.Conn
}

// closeTimeout is how long handlers may take to return at the end of a test, after their contexts
// have been canceled.
const closeTimeout = 10 * time.Second

// Serve serves a service until the test ends. It returns a conn that can call it. For the
// arguments, see [New].
func Serve(tb testing.TB, service any, handlers dynamic.Handlers, opts ...Option) *dynamic.Conn {
	tb.Helper()
	return New(tb, service, handlers, opts...).Conn
}

// New serves a service until the test ends. service is a protoreflect.ServiceDescriptor, a
// *registry.Service, or any other value that [dynamic.Server.Register] accepts. Methods without a
// handler answer with code unimplemented.
//
// By default, the bus is a new in-process bus, and the server and the conn write their log to the
// log of the test. If anything fails, New ends the test with t.Fatal.
//
// When the test ends, the conns are closed, the contexts of running handlers are canceled, and the
// servers and the bus are closed. The test fails if a handler does not return within 10 seconds.
func New(tb testing.TB, service any, handlers dynamic.Handlers, opts ...Option) *Fixture {
	tb.Helper()
	log := &testLog{tb: tb}
	f := &Fixture{
		tb: tb, service: service,
		logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, opt := range opts {
		if opt != nil {
			opt(&f.options)
		}
	}
	b := f.options.bus
	if b == nil {
		b = bus.NewLocal()
	}
	f.Bus = b
	tb.Cleanup(func() {
		f.close(b)
		log.close()
	})
	f.Server, f.Registration = f.AddServer(handlers)
	f.registry = f.options.registry
	if f.registry == nil {
		f.registry = registry.New()
		served := f.Registration.Service()
		_, err := f.registry.Register(served.Descriptor(), registry.WithWireName(served.WireName()))
		f.require(err)
	}
	f.Conn = f.AddConn()
	return f
}

// AddServer serves the service on another server, which uses f.Bus. The options of the server are
// those of the fixture, followed by opts. The IDs of the servers are SRV_test1, SRV_test2 and so
// on, in the order of creation.
func (f *Fixture) AddServer(
	handlers dynamic.Handlers, opts ...dynamic.ServerOption,
) (*dynamic.Server, *dynamic.Registration) {
	f.tb.Helper()
	id := dynamic.WithServerID(fmt.Sprintf("SRV_test%d", len(f.servers)+1))
	server := dynamic.NewServer(f.Bus, dynamic.WithLogger(f.logger), id,
		dynamic.ServerOptions(f.options.server...), dynamic.ServerOptions(opts...))
	f.servers = append(f.servers, server)
	register := append([]dynamic.ServiceOption{dynamic.AllowMissing()}, f.options.register...)
	registration, err := server.Register(f.service, handlers, register...)
	f.require(err)
	return server, registration
}

// AddConn returns another conn on f.Bus, which can call the service. The options of the conn are
// those of the fixture, followed by opts. The IDs of the conns are CLI_test1, CLI_test2 and so on,
// in the order of creation.
func (f *Fixture) AddConn(opts ...dynamic.ConnOption) *dynamic.Conn {
	f.tb.Helper()
	id := dynamic.WithClientID(fmt.Sprintf("CLI_test%d", len(f.conns)+1))
	conn, err := dynamic.NewConn(f.Bus, f.registry, dynamic.WithLogger(f.logger), id,
		dynamic.ConnOptions(f.options.conn...), dynamic.ConnOptions(opts...))
	f.require(err)
	f.conns = append(f.conns, conn)
	return conn
}

// close closes the conns, the servers and the bus b. It calls Kill before Shutdown. Shutdown alone
// would wait for handlers that run until their contexts end, and for clients that have not selected
// a server yet.
func (f *Fixture) close(b bus.Bus) {
	f.tb.Helper()
	for _, conn := range f.conns {
		f.check(conn.Close())
	}
	for _, server := range f.servers {
		server.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, server := range f.servers {
		f.check(server.Shutdown(ctx))
	}
	f.check(b.Close())
}

// require ends the test if err is not nil.
func (f *Fixture) require(err error) {
	f.tb.Helper()
	if err != nil {
		f.tb.Fatalf("dynamictest: %v", err)
	}
}

// check makes the test fail if err is not nil.
func (f *Fixture) check(err error) {
	f.tb.Helper()
	if err != nil {
		f.tb.Errorf("dynamictest: at the end of the test: %v", err)
	}
}
