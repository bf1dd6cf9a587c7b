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
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// windowed is a server's stream with a window, and the hand-made client of it.
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

// TestStreamWindow_NotWithPSRPC: a peer without keepalive may be psrpc, which loses what it has no room for. So each
// Send waits for its ack.
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

// TestStreamWindow_PeerThatAcksOneAtATime: Send returns while there is room, and Flush when all are acknowledged.
func TestStreamWindow_PeerThatAcksOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 3
		stream, p := windowed(t, window)
		for i := range window {
			require.NoError(t, stream.Send(say(fmt.Sprint(i))))
		}
		sent, flushed := make(chan error, 1), make(chan error, 1)
		go func() { sent <- stream.Send(say("3")) }() // ends with the first ack
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
			go func() { flushed <- flush(t.Context(), stream) }() // ends with the last ack
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

// TestStreamWindow_UnackedMessage: one that times out fails the next Send, once; the stream stays open.
func TestStreamWindow_UnackedMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream, p := windowed(t, 2, dynamic.WithServerTimeout(time.Second))
		require.NoError(t, stream.Send(say("lost")))
		p.next(wire.StreamMessage)
		<-time.After(time.Second + 1) // of the bubble
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

// requireUnacknowledged requires an error about the messages with these numbers.
func requireUnacknowledged(t testing.TB, err error, numbers ...uint64) {
	t.Helper()
	unacknowledged, ok := errors.AsType[*dynamic.UnacknowledgedError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, numbers, unacknowledged.Messages)
}

// TestStreamWindow_FailedMessagesAreNamed: each message that is not acknowledged is reported once, by the number of its
// Send.
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
		send(true)  // 1
		send(false) // 2
		send(true)  // 3
		send(false) // 4
		<-time.After(2 * time.Second)
		err := stream.Send(say("not sent")) // 5
		requireUnacknowledged(t, err, 2, 4)
		requireCode(t, errors.DeadlineExceeded, err)
		require.ErrorIs(t, err, errors.ErrRequestTimedOut)
		requireFacts(t, errors.ReasonSilent, err)
		assert.Contains(t, err.Error(), "2 messages of the stream, from 2 to 4, were not acknowledged: ")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, stream.Send(say("not sent"), dynamic.WithStreamContext(ctx))) // 6
		send(false)                                                                    // 7
		err = flush(t.Context(), stream)
		requireUnacknowledged(t, err, 7)
		assert.Contains(t, err.Error(), "message 7 of the stream was not acknowledged: ")
		send(true) // 8
		require.NoError(t, flush(t.Context(), stream))
		send(false) // 9
		send(true)  // 10
		send(false) // 11
		p.toServer(wire.Stream{Op: wire.StreamClose, Code: "aborted", Error: "bye"})
		requireCode(t, errors.Aborted, stream.Send(say("closed")))
		err = flush(t.Context(), stream)
		requireUnacknowledged(t, err, 9, 11)
		requireCode(t, errors.Aborted, err)
		require.NoError(t, flush(t.Context(), stream))
	})
}

// messageLoser loses some stream messages, and notes nothing of it.
type messageLoser struct {
	bus.Bus

	every, messages int // it loses each message whose number is a multiple of every
}

func (b *messageLoser) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if envelope, err := wire.ParseEnvelope(frame); err == nil && envelope.Kind == wire.KindStream {
		if message, err := wire.ParseStream(envelope.Value); err == nil && message.Op == wire.StreamMessage {
			if b.messages++; b.messages%b.every == 0 {
				return nil
			}
		}
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// TestStreamWindow_LostMessagesAreNamed: what has not arrived has been named, and nothing else.
func TestStreamWindow_LostMessagesAreNamed(t *testing.T) {
	t.Parallel()
	for _, every := range []int{2, 3, 7, 100} {
		synctest.Test(t, func(t *testing.T) {
			handle, servers, results := handing(t)
			b := &messageLoser{Bus: bus.NewLocal(), every: every}
			w := newFlowWorld(t, b, handle)
			stream := w.open(t, flow, dynamic.WithStreamWindow(16))
			server := <-servers
			const messages = 500
			want := map[string]bool{} // the messages that are not named
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

// TestStreamWindow_Full: the wait for room is bounded, too, and can be ended.
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
		go func() { sent <- stream.Send(say("3"), hour) }()            // ends with the stream
		go func() { flushed <- flush(context.Background(), stream) }() // ends with the stream
		synctest.Wait()
		p.toServer(wire.Stream{Op: wire.StreamClose, Code: "aborted", Error: "bye"})
		requireCode(t, errors.Aborted, <-sent)
		requireCode(t, errors.Aborted, <-flushed)
	})
}

// TestStream_SlowReceiver: it holds up its sender, and loses nothing.
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
			go func() { // ends with the messages
				for i := range messages {
					sent <- stream.Send(say(fmt.Sprint(i)))
				}
			}()
			// The channel holds 3; the window is filled, and then the sender waits.
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

// TestStream_ReceiverThatNeverReads harms neither other streams nor calls; what it does not keep is counted.
func TestStream_ReceiverThatNeverReads(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), func(stream serverText) error {
		if incoming, _ := dynamic.RequestInfoFromContext(stream.Context()); incoming.Metadata["deaf"] != "" {
			return idle(stream)
		}
		return echoFlow(stream)
	})
	deaf := w.open(t, flow, dynamic.WithStreamWindow(10_000), dynamic.WithMetadata(map[string]string{"deaf": "yes"}))
	const messages = 3000
	for range messages {
		require.NoError(t, deaf.Send(say("hi")))
	}
	// The channel, the one on its way there, and the slack behind it.
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
