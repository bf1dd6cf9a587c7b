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
	// Methods of the first service in the descriptor.
	queue, affinity, flow = "Queue", "Affinity", "Flow"

	// patience is the timeout of set-up and tear-down, far longer than they need.
	patience = 10 * time.Second
)

type text = *wrapperspb.StringValue

//go:embed bench.proto
var protos embed.FS

// schema returns a registry of the services, which is parsed once.
var schema = sync.OnceValues(func() (*registry.Registry, error) {
	reg := registry.New()
	return reg, reg.ParseProto(protos, "bench.proto")
})

// scene holds the servers and clients of one row.
type scene struct {
	*stage
	brokers *brokers
	row     *row
	local   *bus.Local // shared by all peers of an in-process row

	// overdue is closed long after the row should have ended. Operations then stop waiting.
	overdue <-chan struct{}
}

// errOverdue is the error of operations without a response until the row is overdue.
var errOverdue = errors.New("no response came before the row was overdue")

// connect returns a bus on a new connection.
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

// server returns a server on a new connection.
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

// serve registers the service of calls and streams on a new server. Methods may lack handlers.
func (s *scene) serve(handlers dynamic.Handlers) *dynamic.Registration {
	return s.register(service, handlers)
}

func (s *scene) register(service string, handlers dynamic.Handlers) *dynamic.Registration {
	registered, _ := s.schema().Service(strings.TrimSuffix(service, "/"))
	registration, err := s.server().Register(registered, handlers, dynamic.AllowMissing())
	s.check(err)
	return registration
}

// conn returns a client's conn on a new connection.
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

// client returns a client of a method with calls or streams.
func (s *scene) client(conn *dynamic.Conn, method string) *dynamic.Client[text, text] {
	return s.clientOf(conn, service+method)
}

func (s *scene) clientOf(conn *dynamic.Conn, fullName string) *dynamic.Client[text, text] {
	client, err := dynamic.NewClient[text, text](conn, fullName)
	s.check(err)
	return client
}

// reader runs read on a goroutine. When the scene ends, it calls end, which must make read return.
func (s *scene) reader(read, end func()) {
	var reading sync.WaitGroup
	reading.Go(read) // waited for below
	s.Cleanup(func() {
		end()
		reading.Wait()
	})
}

// body returns the request text of a caller. Each caller of a row sends a different text.
func (s *scene) body(caller int) string {
	mark := strconv.Itoa(caller) + "|"
	return mark + strings.Repeat("x", s.row.size.bytes-len(mark))
}

// echo responds with the request.
func echo(_ context.Context, request text) (text, error) { return request, nil }
