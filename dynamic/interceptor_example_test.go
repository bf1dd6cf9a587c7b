package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// weather returns a registry that contains the service of these examples.
func weather() *registry.Registry {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Weather {
		  rpc Ask(google.protobuf.StringValue) returns (google.protobuf.StringValue);
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
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"weather.proto": {Data: []byte(source)}}, "weather.proto"); err != nil {
		panic(err)
	}
	return reg
}

// startWeather serves the service of these examples. It returns a conn, and a function that closes
// both.
func startWeather(ofServer []dynamic.ServerOption, ofConn ...dynamic.ConnOption) (*dynamic.Conn, func()) {
	b, reg := bus.NewLocal(), weather()
	server := dynamic.NewServer(b, ofServer...)
	answer := func(_ context.Context, place *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		if place.GetValue() == "" {
			return nil, errors.NewErrorf(errors.InvalidArgument, "where?")
		}
		return wrapperspb.String("rain in " + place.GetValue()), nil
	}
	service, _ := reg.Service("example.Weather")
	_, err := server.Register(service, dynamic.Handlers{
		"Ask": dynamic.Unary(answer), "AskAll": dynamic.Unary(answer), "Talk": dynamic.Stream(echoFlow),
	})
	if err != nil {
		panic(err)
	}
	conn, err := dynamic.NewConn(b, reg, ofConn...)
	if err != nil {
		panic(err)
	}
	return conn, func() {
		conn.Close()
		server.Shutdown(context.Background())
		b.Close()
	}
}

// One option can contain interceptors for both sides. Each side uses only its own.
func ExampleWithInterceptors() {
	observe := dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC: func(ctx context.Context, request proto.Message, info dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
			fmt.Println("server:", info.Method)
			return next(ctx, request)
		},
		ClientRPC: func(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
			return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
				fmt.Println("client:", info.Method)
				return next(ctx, request, opts...)
			}
		},
	})
	conn, stop := startWeather([]dynamic.ServerOption{observe}, observe)
	defer stop()
	if _, err := dynamic.Invoke(context.Background(), conn, "example.Weather/Ask", wrapperspb.String("Oslo")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// client: Ask
	// server: Ask
}

// An interceptor of a server sees each request before the handler does, and each response after
// the handler has returned it.
func ExampleWithServerRPCInterceptors() {
	log := func(ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
		response, err := handler(ctx, request)
		fmt.Printf("%s: %v\n", info.Method, err)
		return response, err
	}
	onlyWithKey := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
		if incoming, _ := dynamic.RequestInfoFromContext(ctx); incoming.Metadata["key"] != "secret" {
			return nil, errors.NewErrorf(errors.Unauthenticated, "no key")
		}
		return handler(ctx, request)
	}
	conn, stop := startWeather([]dynamic.ServerOption{dynamic.WithServerRPCInterceptors(log, onlyWithKey)})
	defer stop()

	_, err := dynamic.Invoke(context.Background(), conn, "example.Weather/Ask", wrapperspb.String("Rome"))
	fmt.Println(err)
	ctx := dynamic.ContextWithMetadata(context.Background(), map[string]string{"key": "secret"})
	response, err := dynamic.Invoke(ctx, conn, "example.Weather/Ask", wrapperspb.String("Rome"))
	fmt.Println(response.(*wrapperspb.StringValue).GetValue(), err)
	// Output:
	// Ask: no key
	// no key
	// Ask: <nil>
	// rain in Rome <nil>
}

// An interceptor of a conn creates a handler that can change a call or repeat it.
func ExampleWithClientRPCInterceptors() {
	retry := func(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
		return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
			response, err := next(ctx, request, opts...)
			if err != nil {
				fmt.Printf("%s again, because of: %v\n", info.Method, err)
				response, err = next(ctx, wrapperspb.String("Rome"), opts...)
			}
			return response, err
		}
	}
	conn, stop := startWeather(nil, dynamic.WithClientRPCInterceptors(retry))
	defer stop()

	response, err := dynamic.Invoke(context.Background(), conn, "example.Weather/Ask", nil)
	fmt.Println(response.(*wrapperspb.StringValue).GetValue(), err)
	// Output:
	// Ask again, because of: where?
	// rain in Rome <nil>
}

// quorum ends a multi call when enough servers have responded.
type quorum struct {
	dynamic.ClientMultiRPCHandler // implements the other methods

	missing int
}

func (q *quorum) Recv(response proto.Message, err error) {
	q.ClientMultiRPCHandler.Recv(response, err)
	if q.missing--; q.missing == 0 {
		q.Close()
	}
}

// An interceptor of multi calls creates a handler for each call. The handler can store state of
// that call.
func ExampleWithClientMultiRPCInterceptors() {
	one := func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
		return &quorum{next, 1}
	}
	conn, stop := startWeather(nil, dynamic.WithClientMultiRPCInterceptors(one))
	defer stop()

	responses, err := dynamic.InvokeMulti(context.Background(), conn, "example.Weather/AskAll", wrapperspb.String("Rome"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for response := range responses {
		fmt.Println(response.Result.(*wrapperspb.StringValue).GetValue(), response.Err)
	}
	// Output: rain in Rome <nil>
}

// polite refuses rude messages.
type polite struct {
	dynamic.StreamHandler // implements the other methods

	side string
}

func (p polite) Recv(message proto.Message) error {
	if message.(*wrapperspb.StringValue).GetValue() == "shut up" {
		return errors.NewErrorf(errors.InvalidArgument, "mind your language")
	}
	return p.StreamHandler.Recv(message)
}

func (p polite) Close(cause error) error {
	fmt.Printf("closed on the %s: %v\n", p.side, cause)
	return p.StreamHandler.Close(cause)
}

// An interceptor of streams creates a handler for each stream. If the handler refuses a message,
// the stream is closed.
func ExampleWithServerStreamInterceptors() {
	conn, stop := startWeather([]dynamic.ServerOption{dynamic.WithServerStreamInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
			return polite{next, "server"}
		},
	)})
	stream, err := dynamic.InvokeStream(context.Background(), conn, "example.Weather/Talk")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(stream.Send(wrapperspb.String("hello")))
	fmt.Println((<-stream.Channel()).(*wrapperspb.StringValue).GetValue())
	_ = stream.Send(wrapperspb.String("shut up"))
	stop()
	fmt.Println(stream.Err())
	// Output:
	// <nil>
	// hello
	// closed on the server: mind your language
	// mind your language
}

// numbering adds a number to each message that is sent.
type numbering struct {
	dynamic.StreamHandler // implements the other methods

	sent int
}

func (n *numbering) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	n.sent++
	return n.StreamHandler.Send(wrapperspb.String(fmt.Sprint(n.sent, " ", message.(*wrapperspb.StringValue).GetValue())), opts...)
}

// Interceptors can also apply to a single stream, call or multi call.
func ExampleWithRequestStreamInterceptors() {
	conn, stop := startWeather(nil)
	defer stop()

	stream, err := dynamic.InvokeStream(context.Background(), conn, "example.Weather/Talk", dynamic.WithRequestStreamInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
			return &numbering{StreamHandler: next}
		},
	))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, message := range []string{"hello", "goodbye"} {
		if err := stream.Send(wrapperspb.String(message)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println((<-stream.Channel()).(*wrapperspb.StringValue).GetValue())
	}
	stream.Close(nil)
	// Output:
	// 1 hello
	// 2 goodbye
}

// Interceptors of updates run where an update is published and where it arrives at a subscription.
func ExampleWithSubscriptionInterceptors() {
	sign := func(_ dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
		return func(ctx context.Context, update proto.Message) error {
			return next(ctx, wrapperspb.String(update.(*wrapperspb.StringValue).GetValue()+" (signed)"))
		}
	}
	onlyLong := func(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
		return func(ctx context.Context, update proto.Message) error {
			if proto.Size(update) < 20 {
				return errors.NewErrorf(errors.InvalidArgument, "too short")
			}
			return next(ctx, update)
		}
	}
	conn, stop := startWeather(nil, dynamic.WithPublishInterceptors(sign), dynamic.WithSubscriptionInterceptors(onlyLong))
	defer stop()

	subscription, err := dynamic.InvokeSubscribe(context.Background(), conn, "example.Weather/Warning")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, warning := range []string{"sun", "heavy rain"} {
		if err := dynamic.Publish(context.Background(), conn, "example.Weather/Warning", wrapperspb.String(warning)); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println((<-subscription.Channel()).(*wrapperspb.StringValue).GetValue())
	fmt.Println("refused:", subscription.Stats().Refused)
	// Output:
	// heavy rain (signed)
	// refused: 1
}
