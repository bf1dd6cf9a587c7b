package main

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcRows returns the benchmarks that measure grpc-go over loopback TCP.
func grpcRows() []*row {
	var rows []*row
	for _, n := range []int{1, 16, 64} {
		rows = append(rows,
			&row{name: fmt.Sprintf("grpc-unary/c%d", n), open: func(s *scene) load { return s.grpcCalls(n) }},
			&row{name: fmt.Sprintf("grpc-stream-echo/c%d", n), open: func(s *scene) load { return s.grpcEchoes(n) }})
	}
	return rows
}

// grpcService is a handwritten service description, similar to those that protoc-gen-go-grpc
// generates.
var grpcService = grpc.ServiceDesc{
	ServiceName: "bench.Bench",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: queue, Handler: grpcUnary}},
	Streams:     []grpc.StreamDesc{{StreamName: flow, Handler: grpcStream, ServerStreams: true, ClientStreams: true}},
}

func grpcUnary(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	request := new(wrapperspb.StringValue)
	if err := decode(request); err != nil {
		return nil, err
	}
	return echo(ctx, request)
}

func grpcStream(_ any, stream grpc.ServerStream) error {
	for {
		message := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(message); err != nil {
			return nil //nolint:nilerr // the client has closed the stream
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
}

// grpcConn starts a gRPC server and returns a client connection to it.
func (s *scene) grpcConn() *grpc.ClientConn {
	listener, err := new(net.ListenConfig).Listen(s.Context(), "tcp", "127.0.0.1:0")
	s.check(err)
	server := grpc.NewServer()
	server.RegisterService(&grpcService, nil)
	s.reader(func() { _ = server.Serve(listener) }, server.Stop)

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	s.check(err)
	s.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *scene) grpcCalls(n int) load {
	conn, ctx := s.grpcConn(), s.Context()
	return callers(perCaller(n, func(caller int) func() error {
		body := s.body(caller)
		request := wrapperspb.String(body)
		return func() error {
			response := new(wrapperspb.StringValue)
			err := conn.Invoke(ctx, "/"+service+queue, request, response)
			if err == nil && response.GetValue() != body {
				err = errWrongAnswer
			}
			return err
		}
	}))
}

func (s *scene) grpcEchoes(n int) load {
	conn := s.grpcConn()
	return callers(perCaller(n, func(caller int) func() error {
		stream, err := conn.NewStream(s.Context(), &grpcService.Streams[0], "/"+service+flow)
		s.check(err)
		body := s.body(caller)
		message := wrapperspb.String(body)
		return func() error {
			if err := stream.SendMsg(message); err != nil {
				return err
			}
			answer := new(wrapperspb.StringValue)
			if err := stream.RecvMsg(answer); err != nil {
				return err
			}
			if answer.GetValue() != body {
				return errWrongAnswer
			}
			return nil
		}
	}))
}
