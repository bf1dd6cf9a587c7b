package dynamic_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func requireUnmarshal(t testing.TB, encoded []byte, into proto.Message) {
	t.Helper()
	require.NoError(t, proto.Unmarshal(encoded, into))
}

func TestStream_Exchange(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), echoFlow)
	for _, name := range []string{flow, directFlow, bestFlow, allFlows} {
		stream := w.open(t, name)
		require.NoError(t, stream.Err())
		require.NoError(t, stream.Context().Err())
		for i := range 10 {
			require.NoError(t, stream.Send(say(fmt.Sprint(i))), name)
			requireText(t, fmt.Sprint(i), stream.Channel())
		}
		require.NoError(t, stream.Flush(t.Context()))
		require.NoError(t, stream.Close(nil))
		require.ErrorIs(t, stream.Err(), errors.ErrStreamClosed)
		require.ErrorIs(t, stream.Send(say("late")), errors.ErrStreamClosed)
		require.ErrorIs(t, stream.Close(nil), errors.ErrStreamClosed, "it was closed already")
		require.Zero(t, requireClosed(t, stream.Channel()))
		require.ErrorIs(t, context.Cause(stream.Context()), errors.ErrStreamClosed)
	}
	assert.Zero(t, w.server.Stats())
	assert.Zero(t, w.conn.Stats())
}

func TestStream_Order(t *testing.T) {
	t.Parallel()
	const messages = 3000
	for _, window := range []int{1, 64} {
		t.Run(fmt.Sprint("window=", window), func(t *testing.T) {
			t.Parallel()
			w := newFlowWorld(t, bus.NewLocal(), echoFlow)
			stream := w.open(t, directFlow, dynamic.WithStreamWindow(window))
			sent := make(chan error, 1)
			go func() { // this goroutine ends when all messages are acknowledged
				for i := range messages {
					if err := stream.Send(say(fmt.Sprint(i))); err != nil {
						sent <- err
						return
					}
				}
				sent <- stream.Flush(context.Background())
			}()
			for i := range messages {
				requireText(t, fmt.Sprint(i), stream.Channel())
			}
			require.NoError(t, requireSoon(t, sent, "end of sending"))
		})
	}
}

// TestStream_MessageTypes checks that streams accept proto.Message and dynamic messages, and
// reject messages of the wrong type.
func TestStream_MessageTypes(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), echoFlow)
	descriptor := wrapperspb.String("").ProtoReflect().Descriptor()
	plain, err := dynamic.NewClient[proto.Message, proto.Message](w.conn, flow)
	require.NoError(t, err)
	s1, err := plain.OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, s1.Send(say("hi")))
	assert.True(t, proto.Equal(say("hi"), requireSoon(t, s1.Channel(), "answer")))

	dyn, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](w.conn, flow)
	require.NoError(t, err)
	s2, err := dyn.OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, s2.Send(dynamicpb.NewMessage(descriptor)))
	assert.Equal(t, descriptor.FullName(), requireSoon(t, s2.Channel(), "answer").ProtoReflect().Descriptor().FullName())

	requireCode(t, errors.InvalidArgument, s1.Send(wrapperspb.Bool(true)))
	requireCode(t, errors.InvalidArgument, s1.Send(nil))
	requireCode(t, errors.InvalidArgument, s2.Send(nil))
	assert.NoError(t, s1.Err(), "the stream goes on")
	assert.NoError(t, s2.Err())
}
