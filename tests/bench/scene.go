package main

import (
	"context"
	"embed"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/livekit/psrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"  // registers the driver for nats:// URLs
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus" // registers the driver for redis:// URLs
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	service, feeds = "bench.Bench/", "bench.Feed/"
	// These are the names of methods of the service bench.Bench.
	queue, direct, affinity, multi, flow = "Queue", "Direct", "Affinity", "Multi", "Flow"
	// These are the names of methods of the service bench.Feed.
	jobs, news = "Jobs", "News"

	// patience is the timeout for operations that usually take far less time, such as setting up a
	// benchmark or tearing it down.
	patience = 30 * time.Second
)

type text = *wrapperspb.StringValue

//go:embed bench.proto
var protos embed.FS

// schema returns a registry that contains the services. The .proto file is parsed only once.
var schema = sync.OnceValues(func() (*registry.Registry, error) {
	reg := registry.New()
	return reg, reg.ParseProto(protos, "bench.proto")
})

// scene sets up the servers and clients of one benchmark.
type scene struct {
	*stage
	brokers *brokers
	row     *row
	// In an in-process benchmark, all clients and servers share one bus: local if they use
	// dynpsrpc, and psrpcLocal if they use psrpc.
	local      *bus.Local
	psrpcLocal psrpc.MessageBus

	// overdue is closed long after the benchmark should have ended. Operations that are still
	// waiting for a response then return errOverdue.
	overdue <-chan struct{}
}

// errOverdue is returned by operations that are still waiting for a response when scene.overdue is
// closed.
var errOverdue = errors.New("no response came before the row was overdue")

// connect returns a bus with its own connection to the broker. In an in-process benchmark, all
// calls return the same bus.
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

// server returns a new server that uses a bus obtained from connect.
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

// serve registers the service bench.Bench, which has all methods for calls and streams, with a new
// server. handlers need not contain a handler for every method. If the servers run in another
// process, serve does nothing and returns nil.
func (s *scene) serve(handlers dynamic.Handlers) *dynamic.Registration {
	if s.row.clientOnly {
		return nil
	}
	return s.register(service, handlers)
}

func (s *scene) register(service string, handlers dynamic.Handlers) *dynamic.Registration {
	registered, _ := s.schema().Service(strings.TrimSuffix(service, "/"))
	registration, err := s.server().Register(registered, handlers, dynamic.AllowMissing())
	s.check(err)
	return registration
}

// conn returns a new [dynamic.Conn] that uses a bus obtained from connect.
func (s *scene) conn() *dynamic.Conn { return s.connTo(s.schema()) }

// connOptions holds options for every conn. Only tests of this program set it.
var connOptions []dynamic.ConnOption

func (s *scene) connTo(reg *registry.Registry) *dynamic.Conn {
	conn, err := dynamic.NewConn(s.connect(), reg, connOptions...)
	s.check(err)
	s.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *scene) schema() *registry.Registry {
	reg, err := schema()
	s.check(err)
	return reg
}

// client returns a client for a method of the service bench.Bench.
func (s *scene) client(conn *dynamic.Conn, method string) *dynamic.Client[text, text] {
	return s.clientOf(conn, service+method)
}

func (s *scene) clientOf(conn *dynamic.Conn, fullName string) *dynamic.Client[text, text] {
	client, err := dynamic.NewClient[text, text](conn, fullName)
	s.check(err)
	return client
}

// reader runs read in a new goroutine. When the scene ends, stop is called, which must make read
// return.
func (s *scene) reader(read, stop func()) {
	var reading sync.WaitGroup
	// The cleanup function below waits until this goroutine has ended.
	reading.Go(read)
	s.Cleanup(func() {
		stop()
		reading.Wait()
	})
}

// body returns the text of the requests of one caller. Callers are numbered, and each of them sends
// a different text.
func (s *scene) body(caller int) string {
	return s.pad(strconv.Itoa(caller) + "|")
}

// echoStream is a handler that sends each message back.
func echoStream(stream dynamic.ServerStream[text, text]) error {
	for message := range stream.Channel() {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// echo is a handler that returns the request as its response.
func echo(_ context.Context, request text) (text, error) { return request, nil }
