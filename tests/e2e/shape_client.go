package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// call calls a method of any kind. The method must be served by exactly one server.
type call func(ctx context.Context, request *api.MyRequest, opts ...dynamic.RequestOption) (*api.MyResponse, error)

// newClient returns a client for a method. If topic is not nil, the client uses that topic.
func newClient[Req, Resp proto.Message](t testing.TB, conn *dynamic.Conn, method string, topic []string) *dynamic.Client[Req, Resp] {
	t.Helper()
	client, err := dynamic.NewClient[Req, Resp](conn, method)
	require.NoError(t, err)
	if topic == nil {
		return client
	}
	return client.Topic(topic...)
}

func newCall[Req, Resp proto.Message](t testing.TB, conn *dynamic.Conn, method string, topic []string) call {
	t.Helper()
	client := newClient[Req, Resp](t, conn, method, topic)
	multi := kindOf(t, method) == registry.KindMulti
	return func(ctx context.Context, request *api.MyRequest, opts ...dynamic.RequestOption) (*api.MyResponse, error) {
		given, err := as[Req](request)
		if err != nil {
			return nil, err
		}
		var came Resp
		if multi {
			came, err = callOnly(ctx, client, given, opts)
		} else {
			came, err = client.Call(ctx, given, opts...)
		}
		if err != nil {
			return nil, err
		}
		response := &api.MyResponse{}
		return response, from(came, response)
	}
}

// callOnly makes a multi call and returns its only response. It returns an error unless there is
// exactly one response.
func callOnly[Req, Resp proto.Message](
	ctx context.Context, client *dynamic.Client[Req, Resp], request Req, opts []dynamic.RequestOption,
) (only Resp, err error) {
	responses, err := client.CallMulti(ctx, request, opts...)
	if err != nil {
		return only, err
	}
	count := 0
	for response := range responses {
		count++
		only, err = response.Result, response.Err
	}
	if count != 1 {
		return only, fmt.Errorf("wanted 1 response, got %d", count)
	}
	return only, err
}

func kindOf(t testing.TB, fullName string) registry.Kind {
	t.Helper()
	parsed, err := schema()
	require.NoError(t, err)
	method, ok := parsed.Method(fullName)
	require.True(t, ok, fullName)
	return method.Kind()
}

// newGeneratedCall is like newCall, but uses the generated message types and a method of the
// service Calls.
func newGeneratedCall(t testing.TB, conn *dynamic.Conn, method string, topic ...string) call {
	t.Helper()
	return newCall[*api.MyRequest, *api.MyResponse](t, conn, fullName(calls, method), topic)
}

// exchange opens a stream and sends messages one by one. It waits for the response to each message
// before it sends the next one. It then closes the stream and returns the responses.
type exchange func(ctx context.Context, messages ...*api.MyClientMessage) ([]*api.MyServerMessage, error)

func newExchange[Send, Recv proto.Message](t testing.TB, conn *dynamic.Conn, method string, topic []string) exchange {
	t.Helper()
	client := newClient[Send, Recv](t, conn, method, topic)
	return func(ctx context.Context, messages ...*api.MyClientMessage) (answers []*api.MyServerMessage, err error) {
		stream, err := client.OpenStream(ctx)
		if err != nil {
			return nil, err
		}
		for _, message := range messages {
			converted, err := as[Send](message)
			if err != nil {
				return nil, err
			}
			if err := stream.Send(converted); err != nil {
				return nil, err
			}
			came, ok := receive(stream.Channel())
			if err := stream.Err(); err != nil {
				return nil, err
			}
			if !ok {
				return nil, fmt.Errorf("an answer is missing")
			}
			answer := &api.MyServerMessage{}
			if err := from(came, answer); err != nil {
				return nil, err
			}
			answers = append(answers, answer)
		}
		return answers, stream.Close(nil)
	}
}

// received is the result of receiving an update: either the update or a conversion error.
type received struct {
	update *api.MyUpdate
	err    error
}

// newSubscriber subscribes to a method and returns a channel of updates. The channel is closed when
// the conn is closed.
func newSubscriber[Ignored, Update proto.Message](t testing.TB, conn *dynamic.Conn, method string, topic []string) <-chan received {
	t.Helper()
	subscription, err := newClient[Ignored, Update](t, conn, method, topic).Subscribe(context.Background())
	require.NoError(t, err)
	updates := make(chan received, 1000)
	// This goroutine ends when the conn is closed.
	go func() {
		defer close(updates)
		for came := range subscription.Channel() {
			update := &api.MyUpdate{}
			err := from(came, update)
			updates <- received{update, err}
		}
	}()
	return updates
}
