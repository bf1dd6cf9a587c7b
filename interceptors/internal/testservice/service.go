package testservice

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
	syntax = "proto3";
	package example;
	import "options.proto";
	import "google/protobuf/wrappers.proto";
	service Weather {
	  rpc Ask(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	  rpc Look(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option idempotency_level = NO_SIDE_EFFECTS;
	  }
	  rpc Set(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option idempotency_level = IDEMPOTENT;
	  }
	  rpc AskThere(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).topics = true;
	  }
	  rpc AskAll(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).type = MULTI;
	  }
	  rpc Talk(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).stream = true;
	  }
	  rpc Warning(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).subscription = true;
	    option (psrpc.options).type = MULTI;
	  }
	}`

// These are the full names of the service's methods. Look has no side effects, Set is idempotent,
// and AskThere has topics.
const (
	Ask      = "example.Weather/Ask"
	Look     = "example.Weather/Look"
	Set      = "example.Weather/Set"
	AskThere = "example.Weather/AskThere"
	AskAll   = "example.Weather/AskAll"
	Talk     = "example.Weather/Talk"
	Warning  = "example.Weather/Warning"
)

// Text is the type of all messages of the service.
type Text = *wrapperspb.StringValue

// Stream is the server side of a Talk stream.
type Stream = dynamic.ServerStream[Text, Text]

// Config configures the service. By default, calls are handled by [Rain] and streams by [Echo].
type Config struct {
	Server []dynamic.ServerOption
	Conn   []dynamic.ConnOption
	// Handle handles all calls.
	Handle func(ctx context.Context, request Text) (Text, error)
	// Talk handles all streams.
	Talk func(stream Stream) error
}

// Service is a server and a conn on the same in-process bus.
type Service struct {
	Bus          *bus.Local
	Registry     *registry.Registry
	Registration *dynamic.Registration
	Conn         *dynamic.Conn

	server *dynamic.Server
}

// Schema returns a new registry that contains the service.
func Schema() *registry.Registry {
	reg := registry.New()
	must("schema", reg.ParseProto(fstest.MapFS{"weather.proto": {Data: []byte(source)}}, "weather.proto"))
	return reg
}

var schema = sync.OnceValue(Schema)

// Info returns the RPCInfo of the method with the given full name. It panics if there is no such
// method.
func Info(method string) dynamic.RPCInfo {
	described, ok := schema().Method(method)
	if !ok {
		panic(method)
	}
	return dynamic.RPCInfo{Service: "example.Weather", Method: described.Name(), Descriptor: described}
}

// patience is the default timeout of the calls. It is long, so that tests pass on a slow machine.
const patience = 30 * time.Second

// Start starts the service, which runs until Close is called.
func Start(config Config) *Service {
	s := &Service{Bus: bus.NewLocal(), Registry: Schema()}
	quiet := dynamic.WithLogger(slog.New(slog.DiscardHandler))
	s.server = dynamic.NewServer(s.Bus, append([]dynamic.ServerOption{
		dynamic.WithServerID("SRV_weather"), quiet, dynamic.WithServerTimeout(patience),
	}, config.Server...)...)
	if config.Handle == nil {
		config.Handle = Rain
	}
	if config.Talk == nil {
		config.Talk = Echo
	}
	described, _ := s.Registry.Service("example.Weather")
	call := dynamic.Unary(config.Handle)
	var err error
	s.Registration, err = s.server.Register(described, dynamic.Handlers{
		"Ask": call, "Look": call, "Set": call, "AskThere": call, "AskAll": call, "Talk": dynamic.Stream(config.Talk),
	})
	must("server", err)
	s.Conn, err = dynamic.NewConn(s.Bus, s.Registry, append([]dynamic.ConnOption{
		dynamic.WithClientID("CLI_weather"), quiet,
		dynamic.WithClientTimeout(patience), dynamic.WithSelectionTimeout(patience),
	}, config.Conn...)...)
	must("conn", err)
	return s
}

// New starts the service and closes it at the end of the test.
func New(tb testing.TB, config Config) *Service {
	tb.Helper()
	s := Start(config)
	tb.Cleanup(s.Close)
	return s
}

// Close stops the conn, the server and the bus.
func (s *Service) Close() {
	must("conn", s.Conn.Close())
	must("server", s.server.Shutdown(context.Background()))
	must("bus", s.Bus.Close())
}

func must(what string, err error) {
	if err != nil {
		// An error while starting, using or closing the service indicates a bug in the test.
		panic(fmt.Sprintf("%s: %v", what, err))
	}
}

// Call calls a method with a text as the request and returns the text of the response.
func (s *Service) Call(ctx context.Context, method, request string, opts ...dynamic.RequestOption) (string, error) {
	response, err := dynamic.Invoke(ctx, s.Conn, method, wrapperspb.String(request), opts...)
	if err != nil {
		return "", err
	}
	return response.(Text).GetValue(), nil
}

// CallAll calls AskAll and waits until the call ends. It returns the text of the last successful
// response and the error, if any, of the last response.
func (s *Service) CallAll(ctx context.Context, request string) (answer string, err error) {
	responses, err := dynamic.InvokeMulti(ctx, s.Conn, AskAll, wrapperspb.String(request))
	if err != nil {
		return "", err
	}
	for response := range responses {
		if err = response.Err; err == nil {
			answer = response.Result.(Text).GetValue()
		}
	}
	return answer, err
}

// Open opens a Talk stream.
func (s *Service) Open(ctx context.Context) (dynamic.ClientStream[Text, Text], error) {
	client, err := dynamic.NewClient[Text, Text](s.Conn, Talk)
	must("client", err)
	return client.OpenStream(ctx)
}

// Rain returns "rain in " followed by the text of the request.
func Rain(_ context.Context, request Text) (Text, error) {
	return wrapperspb.String("rain in " + request.GetValue()), nil
}

// Echo sends each message back to the client.
func Echo(stream Stream) error {
	for message := range stream.Channel() {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}
