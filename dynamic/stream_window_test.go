package dynamic_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// windowed returns a server's stream with a window, and a peer that acts as the client.
func windowed(t testing.TB, window int, opts ...dynamic.ServerOption) (serverText, *flowPeer) {
	t.Helper()
	handle, servers, _ := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), idle, append(opts, dynamic.WithKeepalive(time.Hour))...)
	require.NoError(t, w.service.Close(context.Background()))
	w.serveFlows(t, w.server, handle, dynamic.WithStreamWindow(window))
	p := newFlowClient(t, w.bus, "Direct")
	p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client), Keepalive: int64(time.Hour)})
	p.next(wire.StreamAck)
	return requireSoon(t, servers, "handler"), p
}

// TestStreamWindow_NotWithPSRPC checks that Send waits for each acknowledgement if the peer
// announces no keepalive. That peer may be psrpc, which loses messages when its buffer is full.
func TestStreamWindow_NotWithPSRPC(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handle, servers, _ := handing(t)
		w := newFlowWorld(t, bus.NewLocal(), idle)
		require.NoError(t, w.service.Close(context.Background()))
		w.serveFlows(t, w.server, handle, dynamic.WithStreamWindow(10))
		p := newFlowClient(t, w.bus, "Direct")
		p.openAsClient()
		stream := requireSoon(t, servers, "handler")
		require.Error(t, stream.Send(say("hi"), dynamic.WithStreamTimeout(time.Second)), "nothing acknowledges it")
	})
}

func flush(ctx context.Context, stream serverText) error { return stream.(dynamic.Flusher).Flush(ctx) }

// TestStreamWindow_PeerThatAcksOneAtATime checks that Send returns while the window has room.
// Flush returns when all messages are acknowledged.
func TestStreamWindow_PeerThatAcksOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 3
		stream, p := windowed(t, window)
		for i := range window {
			require.NoError(t, stream.Send(say(fmt.Sprint(i))))
		}
		sent, flushed := make(chan error, 1), make(chan error, 1)
		// This goroutine ends when the first acknowledgement arrives.
		go func() { sent <- stream.Send(say("3")) }()
		synctest.Wait()
		require.Empty(t, sent, "the window is full")
		var messages []wire.Stream
		for i := range window {
			messages = append(messages, p.next(wire.StreamMessage))
			assert.Equal(t, fmt.Sprint(i), bodyText(t, messages[i]))
		}
		require.Empty(t, p.frames)
		p.toServer(ack(messages[0]))
		require.NoError(t, <-sent)
		messages = append(messages, p.next(wire.StreamMessage))

		for range 2 {
			// This goroutine ends when the last acknowledgement arrives.
			go func() { flushed <- flush(t.Context(), stream) }()
		}
		for _, message := range messages[1:] {
			synctest.Wait()
			require.Empty(t, flushed)
			p.toServer(ack(message))
		}
		require.NoError(t, <-flushed)
		require.NoError(t, <-flushed)
		require.NoError(t, flush(t.Context(), stream), "nothing is left")
	})
}

// TestStreamWindow_UnackedMessage checks that a message which is not acknowledged in time makes
// the next Send fail, once. The stream stays open.
func TestStreamWindow_UnackedMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream, p := windowed(t, 2, dynamic.WithServerTimeout(time.Second))
		require.NoError(t, stream.Send(say("lost")))
		p.next(wire.StreamMessage)
		<-time.After(time.Second + 1) // time in the synctest bubble, which passes at once
		require.ErrorIs(t, stream.Send(say("not sent")), errors.ErrRequestTimedOut)
		require.NoError(t, stream.Err())
		require.Empty(t, p.frames)

		require.NoError(t, stream.Send(say("sent")))
		p.toServer(ack(p.next(wire.StreamMessage)))
		require.NoError(t, flush(t.Context(), stream))

		require.NoError(t, stream.Send(say("lost"), dynamic.WithStreamTimeout(time.Minute)))
		start := time.Now()
		require.ErrorIs(t, flush(t.Context(), stream), errors.ErrRequestTimedOut)
		assert.Equal(t, time.Minute, time.Since(start))
		require.NoError(t, flush(t.Context(), stream))
	})
}

// requireUnacknowledged checks that err reports exactly the messages with these numbers as not
// acknowledged.
func requireUnacknowledged(t testing.TB, err error, numbers ...uint64) {
	t.Helper()
	unacknowledged, ok := errors.AsType[*dynamic.UnacknowledgedError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, numbers, unacknowledged.Messages)
}

// TestStreamWindow_FailedMessagesAreNamed checks that each message which is not acknowledged is
// reported once, with its number.
func TestStreamWindow_FailedMessagesAreNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream, p := windowed(t, 4, dynamic.WithServerTimeout(time.Second))
		send := func(acknowledged bool) {
			require.NoError(t, stream.Send(say("hi")))
			if message := p.next(wire.StreamMessage); acknowledged {
				p.toServer(ack(message))
			}
		}
		send(true)  // message 1
		send(false) // message 2
		send(true)  // message 3
		send(false) // message 4
		<-time.After(2 * time.Second)
		err := stream.Send(say("not sent")) // message 5
		requireUnacknowledged(t, err, 2, 4)
		requireCode(t, errors.DeadlineExceeded, err)
		require.ErrorIs(t, err, errors.ErrRequestTimedOut)
		requireFacts(t, errors.ReasonSilent, err)
		assert.Contains(t, err.Error(), "2 messages of the stream, from 2 to 4, were not acknowledged: ")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, stream.Send(say("not sent"), dynamic.WithStreamContext(ctx))) // message 6
		send(false)                                                                    // message 7
		err = flush(t.Context(), stream)
		requireUnacknowledged(t, err, 7)
		assert.Contains(t, err.Error(), "message 7 of the stream was not acknowledged: ")
		send(true) // message 8
		require.NoError(t, flush(t.Context(), stream))
		send(false) // message 9
		send(true)  // message 10
		send(false) // message 11
		p.toServer(wire.Stream{Op: wire.StreamClose, Code: "aborted", Error: "bye"})
		requireCode(t, errors.Aborted, stream.Send(say("closed")))
		err = flush(t.Context(), stream)
		requireUnacknowledged(t, err, 9, 11)
		requireCode(t, errors.Aborted, err)
		require.NoError(t, flush(t.Context(), stream))
	})
}

// losingBus returns a bus that loses the stream messages whose numbers are multiples of the
// argument every. The bus does not report the losses.
func losingBus(t testing.TB, every int) bus.Bus {
	t.Helper()
	messages := 0
	return bustest.NewFaultBus(bus.NewLocal(), 1, bustest.Faults{
		Loss: 1, Match: func(_ bus.Channel, frame []byte) bool {
			if !isStreamMessage(t, frame) {
				return false
			}
			messages++
			return messages%every == 0
		},
	})
}

// TestStreamWindow_LostMessagesAreNamed checks that exactly the messages which were lost are
// reported as not acknowledged.
func TestStreamWindow_LostMessagesAreNamed(t *testing.T) {
	t.Parallel()
	for _, every := range []int{2, 3, 7, 100} {
		synctest.Test(t, func(t *testing.T) {
			handle, servers, results := handing(t)
			w := newFlowWorld(t, losingBus(t, every), handle)
			stream := w.open(t, flow, dynamic.WithStreamWindow(16))
			server := <-servers
			const messages = 500
			want := map[string]bool{} // the messages that were sent and not reported as lost
			note := func(err error) {
				if failed, ok := errors.AsType[*dynamic.UnacknowledgedError](err); ok {
					for _, number := range failed.Messages {
						require.True(t, want[fmt.Sprint(number)], "named twice: %d", number)
						delete(want, fmt.Sprint(number))
					}
				}
			}
			received := map[string]bool{}
			for number := 1; number <= messages; number++ {
				err := stream.Send(say(fmt.Sprint(number)))
				note(err)
				if err == nil {
					want[fmt.Sprint(number)] = true
				}
				synctest.Wait()
				for len(server.Channel()) > 0 {
					received[(<-server.Channel()).GetValue()] = true
				}
			}
			note(stream.Flush(t.Context()))
			require.NoError(t, stream.Flush(t.Context()))
			assert.Equal(t, want, received)
			results <- nil
			require.NoError(t, stream.Close(nil))
		})
	}
}

// TestStreamWindow_Full checks that a Send that is waiting for room in the window returns an error
// when its timeout expires, its context ends or the stream is closed. A Flush does so when its
// context ends or the stream is closed.
func TestStreamWindow_Full(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream, p := windowed(t, 2)
		hour := dynamic.WithStreamTimeout(time.Hour)
		require.NoError(t, stream.Send(say("1"), hour))
		require.NoError(t, stream.Send(say("2"), hour))
		start := time.Now()
		require.ErrorIs(t, stream.Send(say("3"), dynamic.WithStreamTimeout(time.Minute)), errors.ErrRequestTimedOut)
		assert.Equal(t, time.Minute, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, stream.Send(say("3"), hour, dynamic.WithStreamContext(ctx)), context.DeadlineExceeded)
		require.ErrorIs(t, flush(ctx, stream), context.DeadlineExceeded)

		sent, flushed := make(chan error, 1), make(chan error, 1)
		go func() { sent <- stream.Send(say("3"), hour) }() // this goroutine ends with the stream
		// This goroutine ends when the stream is closed.
		go func() { flushed <- flush(context.Background(), stream) }()
		synctest.Wait()
		p.toServer(wire.Stream{Op: wire.StreamClose, Code: "aborted", Error: "bye"})
		requireCode(t, errors.Aborted, <-sent)
		requireCode(t, errors.Aborted, <-flushed)
	})
}

// TestStream_SlowReceiver checks that a slow receiver makes the sender wait and loses no message.
func TestStream_SlowReceiver(t *testing.T) {
	t.Parallel()
	for _, window := range []int{1, 10} {
		t.Run(fmt.Sprint("window=", window), func(t *testing.T) {
			t.Parallel()
			handle, servers, _ := handing(t)
			w := newFlowWorld(t, bus.NewLocal(), idle)
			require.NoError(t, w.service.Close(context.Background()))
			w.serveFlows(t, w.server, handle, dynamic.WithStreamBuffer(3))
			stream := w.open(t, flow, dynamic.WithStreamWindow(window), dynamic.WithRequestTimeout(time.Hour))
			server := requireSoon(t, servers, "handler")
			const messages = 200
			sent := make(chan error, messages)
			go func() { // this goroutine ends when all messages are sent
				for i := range messages {
					sent <- stream.Send(say(fmt.Sprint(i)))
				}
			}()
			// The receiver's channel holds 3 messages. Then the window fills up, and the sender
			// has to wait.
			accepted := 3
			if window > 1 {
				accepted += window
			}
			for range accepted {
				require.NoError(t, requireSoon(t, sent, "send"))
			}
			require.Never(t, func() bool { return len(sent) > 0 }, 20*time.Millisecond, 5*time.Millisecond)
			for i := range messages {
				requireText(t, fmt.Sprint(i), server.Channel())
			}
			for range messages - accepted {
				require.NoError(t, requireSoon(t, sent, "send"))
			}
			require.NoError(t, stream.Flush(t.Context()))
			assert.Zero(t, w.server.Stats().Overflowed)
		})
	}
}

// TestStream_ReceiverThatNeverReads checks that a stream whose messages are not read affects
// neither other streams nor calls. Messages that are dropped are counted.
func TestStream_ReceiverThatNeverReads(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), func(stream serverText) error {
		if incoming, _ := dynamic.RequestInfoFromContext(stream.Context()); incoming.Metadata["deaf"] != "" {
			return idle(stream)
		}
		return echoFlow(stream)
	})
	deaf := w.open(t, flow, dynamic.WithStreamWindow(10_000), dynamic.WithRequestTimeout(time.Hour),
		dynamic.WithMetadata(map[string]string{"deaf": "yes"}))
	const messages = 3000
	for range messages {
		require.NoError(t, deaf.Send(say("hi")))
	}
	// The server keeps the messages in the channel, the one that is being added to it, and those
	// in the buffer behind it.
	kept := uint64(2*dynamic.DefaultStreamBuffer + 1024 + 1)
	require.Eventually(t, func() bool { return w.server.Stats().Overflowed >= messages-kept }, atOnce, time.Millisecond)
	assert.Less(t, w.server.Stats().Overflowed, uint64(messages-dynamic.DefaultStreamBuffer-1024+1))

	stream := w.open(t, flow)
	for range 100 {
		require.NoError(t, stream.Send(say("hi")))
		requireText(t, "hi", stream.Channel())
	}
	answer, err := textClient(t, w.conn, "streams.Flows/Ask").Call(t.Context(), say("hi"))
	require.NoError(t, err)
	assert.Equal(t, "hi", answer.GetValue())
	require.NoError(t, deaf.Close(nil))
}
