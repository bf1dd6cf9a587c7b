package dynamic_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// sentStreams returns the published stream frames with the operation op, and the names of their
// channels.
func (b *fakeBus) sentStreams(t testing.TB, op wire.StreamOp) (frames []wire.Stream, channels []string) {
	t.Helper()
	for _, sent := range b.sent() {
		envelope, err := wire.ParseEnvelope(sent.frame)
		require.NoError(t, err)
		if envelope.Kind != wire.KindStream {
			continue
		}
		frame, err := wire.ParseStream(envelope.Value)
		require.NoError(t, err)
		if frame.Op == op {
			frames, channels = append(frames, frame), append(channels, sent.channel)
		}
	}
	return frames, channels
}

var errDetailed = errors.NewError(errors.NotFound, errors.New("room gone"), &errdetails.ErrorInfo{Reason: "gone"})

// closeCauses lists the code and the text that psrpc sends for each error that closes a stream.
var closeCauses = []struct {
	name  string
	cause error
	code  errors.ErrorCode
	text  string
}{
	{"nil", nil, errors.Canceled, "stream closed"},
	{"coded", errors.NewErrorf(errors.ResourceExhausted, "too much"), errors.ResourceExhausted, "too much"},
	{"wrapped coded", fmt.Errorf("lost text: %w", errors.NewErrorf(errors.Aborted, "bye")), errors.Aborted, "bye"},
	{"own code", errors.NewErrorf("my_code", "mine"), "my_code", "mine"},
	{"with details", errDetailed, errors.NotFound, "room gone"},
	{"foreign", foreignError{}, errors.MalformedRequest, "no answer"},
	{"plain", io.ErrUnexpectedEOF, errors.Unknown, "unexpected EOF"},
	{"gRPC status", status.Error(codes.NotFound, "grpc gone"), errors.Unknown, "rpc error: code = NotFound desc = grpc gone"},
	{"context canceled", context.Canceled, errors.Unknown, "context canceled"},
	{"context deadline", context.DeadlineExceeded, errors.Unknown, "context deadline exceeded"},
	{"empty text", errors.New(""), errors.Unknown, "unknown"},
}

// TestStream_CloseCauses closes a stream from either side with different errors. It checks the
// frame that is sent and the errors that both sides see.
func TestStream_CloseCauses(t *testing.T) {
	t.Parallel()
	type end func(client clientText, server serverText, results chan<- error, cause error) error
	for side, end := range map[string]end{
		"client": func(client clientText, _ serverText, _ chan<- error, cause error) error { return client.Close(cause) },
		"server": func(_ clientText, server serverText, _ chan<- error, cause error) error { return server.Close(cause) },
		"handler returns": func(_ clientText, _ serverText, results chan<- error, cause error) error {
			results <- cause
			return nil
		},
	} {
		for _, tt := range closeCauses {
			t.Run(side+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				b := newFakeBus()
				handle, servers, results := handing(t)
				w := newFlowWorld(t, b, handle)
				client := w.open(t, flow)
				server := requireSoon(t, servers, "handler")
				require.NoError(t, end(client, server, results, tt.cause))
				for _, ctx := range []context.Context{client.Context(), server.Context()} {
					requireSoon(t, ctx.Done(), "end of the stream")
				}
				for _, err := range []error{client.Err(), server.Err(), context.Cause(client.Context())} {
					requireClosedWith(t, err, tt.code, tt.text)
				}
				requireClosed(t, client.Channel())
				requireClosed(t, server.Channel())
				results <- errors.New("too late")
				require.NoError(t, w.server.Shutdown(context.Background()))

				frames, channels := b.sentStreams(t, wire.StreamClose)
				require.Len(t, frames, 1, "one close only")
				assert.Equal(t, string(tt.code), frames[0].Code)
				assert.Equal(t, tt.text, frames[0].Error)
				assert.Greater(t, frames[0].Expiry, time.Now().UnixNano())
				assert.Equal(t, side == "client", strings.HasPrefix(channels[0], "Flows|Flow"))
			})
		}
	}
}

// requireClosedWith checks the code and the text that would be sent for err. On the side that
// closed the stream, err itself may have another text, because it is the original error.
func requireClosedWith(t testing.TB, err error, code errors.ErrorCode, text string) {
	t.Helper()
	gotCode, gotText := errors.ToStreamClose(err)
	require.Equal(t, code, gotCode)
	require.Equal(t, text, gotText)
	_, coded := errors.AsType[errors.Error](err)
	require.True(t, coded, "%T", err)
}

func TestStream_CloseKeepsDetails(t *testing.T) {
	t.Parallel()
	handle, servers, _ := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	for _, fromClient := range []bool{true, false} {
		client := w.open(t, flow)
		server := requireSoon(t, servers, "handler")
		var closing, closed interface {
			Close(cause error) error
			Err() error
			Context() context.Context
		} = client, server
		if !fromClient {
			closing, closed = server, client
		}
		require.NoError(t, closing.Close(fmt.Errorf("around it: %w", errDetailed)))
		requireSoon(t, closed.Context().Done(), "close")
		coded := requireCode(t, errors.NotFound, closed.Err())
		require.Len(t, coded.Details(), 1)
		assert.True(t, proto.Equal(&errdetails.ErrorInfo{Reason: "gone"}, coded.Details()[0].(proto.Message)))
	}
}

func TestStream_CloseWithDetailsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	handle, servers, _ := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	client := w.open(t, flow)
	server := requireSoon(t, servers, "handler")
	bad := errors.NewError(errors.NotFound, errors.New("gone"), &anypb.Any{TypeUrl: "\xff"})
	require.NoError(t, server.Close(bad))
	requireSoon(t, client.Context().Done(), "close")
	assert.Equal(t, "gone", requireCode(t, errors.NotFound, client.Err()).Error())
}

// TestStream_CloseTwiceAtOnce calls Close concurrently. One call must succeed, and only one close
// may be sent.
func TestStream_CloseTwiceAtOnce(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, idle)
	stream := w.open(t, flow)
	const times = 50
	closed := make(chan error, times)
	for i := range times {
		// This goroutine ends when Close returns.
		go func() { closed <- stream.Close(errors.NewErrorf(errors.Aborted, "%d", i)) }()
	}
	succeeded := 0
	for range times {
		err := requireSoon(t, closed, "close")
		if err == nil {
			succeeded++
			continue
		}
		assert.Equal(t, stream.Err(), err)
	}
	assert.Equal(t, 1, succeeded)
	require.NoError(t, w.server.Shutdown(context.Background()))
	frames, _ := b.sentStreams(t, wire.StreamClose)
	assert.Len(t, frames, 1)
}

// TestStream_CloseThatCannotBeSent checks that a stream is closed even if the bus does not accept
// the close frame. Close then returns the error of the bus.
func TestStream_CloseThatCannotBeSent(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, idle)
	stream := w.open(t, flow)
	b.publish = func(context.Context, bus.Channel, []byte, bus.DeliveryReport) error { return errBroken }
	require.ErrorIs(t, stream.Close(nil), errBroken)
	require.ErrorIs(t, stream.Err(), errors.ErrStreamClosed)
	requireClosed(t, stream.Channel())
	b.publish = nil
}

// TestStream_CloseFailsWaitingSends checks that every Send that is waiting for an acknowledgement
// returns the error with which the stream is closed.
func TestStream_CloseFailsWaitingSends(t *testing.T) {
	t.Parallel()
	for _, fromClient := range []bool{true, false} {
		handle, servers, results := handing(t)
		w := newFlowWorld(t, bus.NewLocal(), handle)
		client := w.open(t, flow, dynamic.WithRequestTimeout(time.Hour))
		server := requireSoon(t, servers, "handler")
		for range dynamic.DefaultStreamBuffer {
			require.NoError(t, client.Send(say("hi")))
		}
		const senders = 10
		sent := make(chan error, senders)
		for range senders {
			// This goroutine ends when the stream is closed.
			go func() { sent <- client.Send(say("one too many")) }()
		}
		gone := errors.NewErrorf(errors.Aborted, "gone")
		if fromClient {
			require.NoError(t, client.Close(gone))
		} else {
			require.NoError(t, server.Close(gone))
		}
		for range senders {
			requireCode(t, errors.Aborted, requireSoon(t, sent, "send"))
		}
		results <- nil
	}
}

// TestStream_SendThatEndsTheStream checks that Send succeeds even if the receiver closes the
// stream as soon as it has the message. The acknowledgement is sent before the close.
func TestStream_SendThatEndsTheStream(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), func(stream serverText) error {
		<-stream.Channel()
		return nil
	})
	for range 200 {
		stream := w.open(t, directFlow)
		require.NoError(t, stream.Send(say("bye")))
		requireClosed(t, stream.Channel())
	}
}

// TestStream_MessagesBeforeClose checks that messages which were sent before the close can still
// be read, even if they exceed the size of the channel.
func TestStream_MessagesBeforeClose(t *testing.T) {
	t.Parallel()
	handle, servers, results := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	client := w.open(t, directFlow, dynamic.WithStreamWindow(500))
	server := requireSoon(t, servers, "handler")
	for i := range 500 {
		require.NoError(t, client.Send(say(fmt.Sprint(i))))
	}
	require.NoError(t, client.Close(nil))
	requireSoon(t, server.Context().Done(), "close")
	for i := range 500 {
		requireText(t, fmt.Sprint(i), server.Channel())
	}
	requireClosed(t, server.Channel())
	results <- nil
	requireCode(t, errors.Canceled, client.Flush(t.Context()))
}
