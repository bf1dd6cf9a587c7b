package main

import (
	"context"
	"embed"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"  // nats://
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus" // redis://
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	service, feeds = "bench.Bench/", "bench.Feed/"
	// Methods of the first one, as in the descriptor.
	queue, affinity, flow = "Queue", "Affinity", "Flow"

	// patience is for what does not take long unless something is wrong.
	patience = 10 * time.Second
)

type text = *wrapperspb.StringValue

//go:embed bench.proto
var protos embed.FS

// schema is the registry with the services, parsed once.
var schema = sync.OnceValues(func() (*registry.Registry, error) {
	reg := registry.New()
	return reg, reg.ParseProto(protos, "bench.proto")
})

// scene is one row's peers.
type scene struct {
	*stage
	brokers *brokers
	row     *row
	local   *bus.Local // the in-process bus, of which there is one for all

	// overdue is closed when the row should have ended long ago. Operations do not wait for an answer beyond that.
	overdue <-chan struct{}
}

// errOverdue is that of an operation of which nothing was heard any more.
var errOverdue = errors.New("no answer came")

// connect returns a bus on a connection of its own.
func (s *scene) connect() bus.Bus {
	if s.row.bus == onLocal {
		if s.local == nil {
			s.local = bus.NewLocal()
			s.Cleanup(func() { _ = s.local.Close() })
		}
		return s.local
	}
	b, err := bus.Open(s.Context(), s.brokers.urls[s.row.bus])
	s.check(err)
	s.Cleanup(func() { _ = b.Close() })
	return b
}

// server returns a server on a connection of its own.
func (s *scene) server() *dynamic.Server {
	server := dynamic.NewServer(s.connect(), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	s.Cleanup(func() {
		server.Kill()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = server.Shutdown(ctx)
	})
	return server
}

// serve registers the service with calls and streams, of which only some methods have handlers, on a server of its own.
func (s *scene) serve(handlers dynamic.Handlers) *dynamic.Registration {
	return s.register(service, handlers)
}

func (s *scene) register(service string, handlers dynamic.Handlers) *dynamic.Registration {
	registered, _ := s.schema().Service(strings.TrimSuffix(service, "/"))
	registration, err := s.server().Register(registered, handlers, dynamic.AllowMissing())
	s.check(err)
	return registration
}

// conn returns a client's conn on a connection of its own.
func (s *scene) conn() *dynamic.Conn { return s.connTo(s.schema()) }

func (s *scene) connTo(reg *registry.Registry) *dynamic.Conn {
	conn, err := dynamic.NewConn(s.connect(), reg)
	s.check(err)
	s.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *scene) schema() *registry.Registry {
	reg, err := schema()
	s.check(err)
	return reg
}

// client returns a client of a call or stream.
func (s *scene) client(conn *dynamic.Conn, method string) *dynamic.Client[text, text] {
	return s.clientOf(conn, service+method)
}

func (s *scene) clientOf(conn *dynamic.Conn, fullName string) *dynamic.Client[text, text] {
	client, err := dynamic.NewClient[text, text](conn, fullName)
	s.check(err)
	return client
}

// reader runs read on a goroutine until the scene ends: end makes read return.
func (s *scene) reader(read, end func()) {
	var reading sync.WaitGroup
	reading.Go(read) // waited for below
	s.Cleanup(func() {
		end()
		reading.Wait()
	})
}

// body returns what the caller with this number sends: no other caller of the row sends the same.
func (s *scene) body(caller int) string {
	mark := strconv.Itoa(caller) + "|"
	return mark + strings.Repeat("x", s.row.size.bytes-len(mark))
}

// echo answers with what came.
func echo(_ context.Context, request text) (text, error) { return request, nil }
