package e2e

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// shape is a Go representation of messages. Its functions accept and return the generated message
// types that the tests use, and convert them to and from the representation.
type shape struct {
	name  string
	unary func() dynamic.Handler
	// best returns a call handler with an affinity function.
	best      func() dynamic.Handler
	stream    func() dynamic.Handler
	caller    func(t testing.TB, conn *dynamic.Conn, method string, topic []string) call
	opener    func(t testing.TB, conn *dynamic.Conn, method string, topic []string) exchange
	subscribe func(t testing.TB, conn *dynamic.Conn, method string, topic []string) <-chan received
}

// shapes lists the representations that both clients and servers support. In the "interface"
// representation, tests send dynamic messages and must receive messages of generated types.
var shapes = []shape{
	newShape[*api.MyRequest, *api.MyResponse, *api.MyClientMessage, *api.MyServerMessage, *api.Ignored, *api.MyUpdate]("generated"),
	newShape[
		*dynamicpb.Message, *dynamicpb.Message, *dynamicpb.Message, *dynamicpb.Message, *dynamicpb.Message, *dynamicpb.Message,
	]("dynamic"),
	newShape[proto.Message, proto.Message, proto.Message, proto.Message, proto.Message, proto.Message]("interface"),
}

func newShape[Req, Resp, Send, Recv, Ignored, Update proto.Message](name string) shape {
	return shape{
		name:      name,
		unary:     func() dynamic.Handler { return dynamic.Unary(answering[Req, Resp]) },
		best:      func() dynamic.Handler { return dynamic.Unary(answering[Req, Resp], dynamic.WithAffinity(always1[Req])) },
		stream:    func() dynamic.Handler { return dynamic.Stream(acknowledging[Recv, Send]) },
		caller:    newCall[Req, Resp],
		opener:    newExchange[Send, Recv],
		subscribe: newSubscriber[Ignored, Update],
	}
}

// respond returns the response with which all call handlers respond to a request. All fields of the
// response are set.
func respond(request *api.MyRequest) *api.MyResponse {
	counts := map[string]int64{}
	for _, tag := range request.GetTags() {
		counts[tag]++
	}
	return &api.MyResponse{
		Text: "hello " + request.GetName(), Total: request.GetCount() + 1, Counts: counts,
		Addresses: []*api.Address{request.GetAddress(), {Host: "server"}},
	}
}

// sample returns a request with all fields set.
func sample(name string) *api.MyRequest {
	return &api.MyRequest{Name: name, Count: -41, Tags: []string{"a", "b", "a"}, Address: &api.Address{Region: "eu", Host: "client"}}
}

func answering[Req, Resp proto.Message](_ context.Context, given Req) (response Resp, err error) {
	var request api.MyRequest
	if err := from(given, &request); err != nil {
		return response, err
	}
	return as[Resp](respond(&request))
}

func always1[Req proto.Message](context.Context, Req) float32 { return 1 }

// answeringRaw is like answering, but its request and its response are encoded messages.
func answeringRaw(_ context.Context, method *registry.Method, encoded []byte) ([]byte, error) {
	if name := method.Input().FullName(); name != "example.compiled.v1.MyRequest" {
		return nil, fmt.Errorf("the method takes %s", name)
	}
	var request api.MyRequest
	if err := proto.Unmarshal(encoded, &request); err != nil {
		return nil, err
	}
	return proto.Marshal(respond(&request))
}

// acknowledgement returns the message with which all stream handlers respond to a message.
func acknowledgement(message *api.MyClientMessage) *api.MyServerMessage {
	return &api.MyServerMessage{Acknowledged: message.GetSequence(), Text: string(message.GetPayload())}
}

func acknowledging[Send, Recv proto.Message](stream dynamic.ServerStream[Send, Recv]) error {
	for came := range stream.Channel() {
		var message api.MyClientMessage
		if err := from(came, &message); err != nil {
			return err
		}
		answer, err := as[Send](acknowledgement(&message))
		if err != nil {
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	return nil
}
