package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// decodedBy returns a decoder that uses dynamicpb and appends a mark to the text of the message.
func decodedBy(request protoreflect.MessageDescriptor) (func([]byte) (proto.Message, error), error) {
	value := request.Fields().Get(0)
	return func(encoded []byte) (proto.Message, error) {
		message := dynamicpb.NewMessage(request)
		err := proto.Unmarshal(encoded, message)
		message.Set(value, protoreflect.ValueOfString(message.Get(value).String()+" decodedBy"))
		return message, err
	}, nil
}

// failing returns an option whose decoder is the function decode. If err is not nil, creating the
// decoder fails.
func failing(decode func(encoded []byte) (proto.Message, error), err error) dynamic.HandlerOption {
	return dynamic.WithRequestDecoder(func(protoreflect.MessageDescriptor) (func([]byte) (proto.Message, error), error) {
		return decode, err
	})
}

func TestWithRequestDecoder_DecodesRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	decoder := dynamic.WithRequestDecoder(decodedBy)
	w.serve(t, dynamic.Handlers{
		"Echo": identity[anyMsg](decoder), "Direct": identity[anyMsg](decoder),
		"Best": identity[anyMsg](dynamic.WithAffinity(func(_ context.Context, request anyMsg) float32 {
			assert.IsType(t, &dynamicpb.Message{}, request)
			return 1
		}), decoder),
	})
	for _, name := range []string{echo, direct, best} {
		response, err := w.call(t, name, "hi")
		require.NoError(t, err)
		assert.Equal(t, "hi decodedBy", response)
	}
}

func TestWithRequestDecoder_DecodesStreams(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	require.NoError(t, w.service.Close(context.Background()))
	_, err := w.server.Register(descriptor(t, w.registry, "streams.Flows"), dynamic.Handlers{
		"Flow": dynamic.Stream(func(stream dynamic.ServerStream[anyMsg, anyMsg]) error {
			for message := range stream.Channel() {
				if err := stream.Send(message); err != nil {
					return err
				}
			}
			return stream.Err()
		}, dynamic.WithRequestDecoder(decodedBy)),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	stream := w.open(t, flow)
	require.NoError(t, stream.Send(wrapperspb.String("hi")))
	assert.Equal(t, "hi decodedBy", requireSoon(t, stream.Channel(), "message").GetValue())
	require.NoError(t, stream.Close(nil))
}

func TestWithRequestDecoder_Fails(t *testing.T) {
	t.Parallel()
	for name, decode := range map[string]func([]byte) (proto.Message, error){
		"error": func([]byte) (proto.Message, error) { return nil, errors.New("cannot read it") },
		"panic": func([]byte) (proto.Message, error) { panic("cannot read it") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(t, dynamic.Handlers{"Echo": identity[anyMsg](failing(decode, nil))})
			_, err := w.call(t, echo, "hi")
			coded := requireCode(t, errors.MalformedRequest, err)
			assert.Equal(t, "message google.protobuf.StringValue cannot be decoded: cannot read it", coded.Error())
		})
	}
}

func TestWithRequestDecoder_DoesNotFit(t *testing.T) {
	t.Parallel()
	decoder := dynamic.WithRequestDecoder(decodedBy)
	for _, tt := range []struct {
		name, service, method string
		handler               dynamic.Handler
		want                  string
	}{
		{"generated", "test.Echoes", "Echo", identity[text](decoder),
			"wanted a function that takes proto.Message, given one that takes *wrapperspb.StringValue"},
		{"dynamicpb", "test.Echoes", "Echo", identity[dyn](decoder), "given one that takes *dynamicpb.Message"},
		{"wider", "test.Echoes", "Echo", identity[wider](decoder), "given one that takes dynamic_test.wider"},
		{"raw", "test.Echoes", "Echo", dynamic.Raw(rawIdentity, decoder), "the function takes bytes"},
		{"nil", "test.Echoes", "Echo", identity[anyMsg](dynamic.WithRequestDecoder(nil)), "the request decoder is nil"},
		{"error", "test.Echoes", "Echo", identity[anyMsg](failing(nil, errors.New("too large"))), "request decoder: too large"},
		{"no function", "test.Echoes", "Echo", identity[anyMsg](failing(nil, nil)), "the request decoder returned no function"},
		{"affinity of the linked type", "test.Echoes", "Best", identity[anyMsg](
			dynamic.WithAffinity(func(context.Context, text) float32 { return 1 }), decoder),
			"affinity function: wanted request type protoreflect.ProtoMessage, given *wrapperspb.StringValue"},
		{"stream", "test.Kinds", "Flow", dynamic.Stream(func(dynamic.ServerStream[dyn, dyn]) error { return nil }, decoder),
			"given one that takes *dynamicpb.Message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, err := w.server.Register(descriptor(t, w.registry, tt.service),
				dynamic.Handlers{tt.method: tt.handler}, dynamic.AllowMissing())
			requireCode(t, errors.InvalidArgument, err)
			assert.Contains(t, err.Error(), "service "+tt.service+", method "+tt.method+": ")
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

func TestWithAffinity_DoesNotFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	affinity := dynamic.WithAffinity(func(context.Context, number) float32 { return 1 })
	for want, handler := range map[string]dynamic.Handler{
		"wanted request type *wrapperspb.StringValue, given *wrapperspb.Int64Value": identity[text](affinity),
		"wanted request type *dynamicpb.Message, given *wrapperspb.Int64Value":      identity[dyn](affinity),
		"the function takes bytes": dynamic.Raw(rawIdentity, affinity),
	} {
		_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"),
			dynamic.Handlers{"Best": handler}, dynamic.AllowMissing())
		assert.ErrorContains(t, err, want)
	}
}

// TestWithAffinity_RequiredFields checks that Register accepts an affinity function for a request
// type with a required field. An empty message of that type cannot be decoded.
func TestWithAffinity_RequiredFields(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t, `
syntax = "proto2";
package strict;
import "options.proto";
message Request { required string name = 1; }
service Strict { rpc Best(Request) returns (Request) { option (psrpc.options).type = AFFINITY; } }
`)
	_, err := newWorld(t).server.Register(descriptor(t, reg, "strict.Strict"), dynamic.Handlers{
		"Best": identity[dyn](dynamic.WithAffinity(func(context.Context, dyn) float32 { return 1 })),
	})
	require.NoError(t, err)
}
