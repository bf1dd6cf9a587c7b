package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fastdecode"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// messageRows returns benchmarks that measure calls with default options. The benchmarks differ in
// the Go type of the messages or in how the server decodes the messages.
func messageRows(bus string) []*row {
	var rows []*row
	for _, n := range []int{1, 64} {
		rows = append(rows, messageFamily[text](bus, small, queue, smallMessage, n)...)
		rows = append(rows, messageFamily[*descriptorpb.FileDescriptorProto](bus, nested, "Nested", nestedMessage, n)...)
	}
	return rows
}

// sampler returns the request that one caller sends. Callers are numbered from 0.
type sampler func(s *scene, caller int) proto.Message

// messageFamily returns the benchmarks that call one method with n concurrent callers. M is the
// generated type of the method's requests and responses.
func messageFamily[M proto.Message](bus string, size size, method string, sample sampler, n int) []*row {
	raw := dynamic.Raw(func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) { return request, nil })
	name := func(kind string) string { return fmt.Sprintf("message/%s/c%d", kind, n) }
	limits := []string{name("typed")}
	return []*row{
		{bus: bus, size: size, name: name("typed"), open: func(s *scene) load {
			return messageCalls[M](s, method, n, sample, same[M]())
		}},
		{bus: bus, size: size, name: name("proto.Message"), limits: limits, open: func(s *scene) load {
			return messageCalls[proto.Message](s, method, n, sample, same[proto.Message]())
		}},
		{bus: bus, size: size, name: name("dynamicpb"), limits: limits, open: func(s *scene) load {
			return messageCalls[*dynamicpb.Message](s, method, n, dynamicMessage(method, sample), same[*dynamicpb.Message]())
		}},
		{bus: bus, size: size, name: name("fastdecode"), limits: limits, open: func(s *scene) load {
			return messageCalls[M](s, method, n, sample, readOnly(s, n, sample))
		}},
		{bus: bus, size: size, name: name("raw"), limits: limits, open: func(s *scene) load {
			return messageCalls[M](s, method, n, sample, raw)
		}},
	}
}

// same returns a handler that returns the request as its response.
func same[M proto.Message]() dynamic.Handler {
	return dynamic.Unary(func(_ context.Context, request M) (M, error) { return request, nil })
}

// readOnly returns a handler that reads only the first field of a request, which identifies the
// caller. The handler responds with a message that was prepared for that caller.
func readOnly(s *scene, callers int, sample sampler) dynamic.Handler {
	answers := make(map[string]proto.Message, callers)
	for caller := range callers {
		message := sample(s, caller)
		answers[textOf(message)] = message
	}
	return dynamic.Unary(func(_ context.Context, request proto.Message) (proto.Message, error) {
		return answers[textOf(request)], nil
	}, fastdecode.Requests())
}

// smallMessage returns a message with a short text, which is different for each caller.
func smallMessage(s *scene, caller int) proto.Message { return wrapperspb.String(s.body(caller)) }

// nestedMessage returns a message of about 10 KB with many nested fields: the descriptor of
// descriptor.proto. The name in the descriptor is different for each caller.
func nestedMessage(_ *scene, caller int) proto.Message {
	message := protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto)
	message.Name = new(fmt.Sprint("caller ", caller))
	return message
}

// dynamicMessage returns a sampler that returns the same messages as sample, but as type
// *dynamicpb.Message.
func dynamicMessage(method string, sample sampler) sampler {
	return func(s *scene, caller int) proto.Message {
		described, _ := s.schema().Method(service + method)
		message := dynamicpb.NewMessage(described.Input())
		encoded, err := proto.Marshal(sample(s, caller))
		s.check(err)
		s.check(proto.Unmarshal(encoded, message))
		return message
	}
}

// messageCalls returns a [load] in which n concurrent callers make calls with messages of type M.
// The first response to each caller is compared with the whole request. For later responses, only
// the first field is compared, because comparing whole messages would dominate the measurement.
func messageCalls[M proto.Message](s *scene, method string, n int, sample sampler, handler dynamic.Handler) load {
	s.serve(dynamic.Handlers{method: handler})
	client, err := dynamic.NewClient[M, M](s.conn(), service+method)
	s.check(err)
	ctx := s.Context()
	return callers(perCaller(n, func(caller int) func() error {
		request := sample(s, caller).(M)
		want := textOf(request)
		response, err := client.Call(ctx, request)
		s.check(err)
		if !proto.Equal(response, request) {
			s.check(errWrongAnswer)
		}
		return func() error {
			response, err := client.Call(ctx, request)
			if err == nil && textOf(response) != want {
				err = errWrongAnswer
			}
			return err
		}
	}))
}

// textOf returns the value of field number 1 of a message, which must be a string.
func textOf(message proto.Message) string {
	reflected := message.ProtoReflect()
	return reflected.Get(reflected.Descriptor().Fields().ByNumber(1)).String()
}
