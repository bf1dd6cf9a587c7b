package dynamic_test

import (
	"context"
	"sync"
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

// TestStream_ServerEnds checks that Shutdown and Close close all streams at once with the error
// EOF, and then wait for the handlers.
func TestStream_ServerEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *flowWorld) error{
		"shutdown": func(w *flowWorld) error { return w.server.Shutdown(context.Background()) },
		"close":    func(w *flowWorld) error { return w.service.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFakeBus()
			handle, servers, results := handing(t)
			w := newFlowWorld(t, b, handle)
			client := w.open(t, flow)
			server := requireSoon(t, servers, "handler")
			ended := make(chan error, 1)
			go func() { ended <- end(w) }() // this goroutine ends when the handler returns
			for _, ctx := range []context.Context{client.Context(), server.Context()} {
				requireSoon(t, ctx.Done(), "end of the stream")
			}
			require.ErrorIs(t, client.Err(), errors.ErrStreamEOF)
			require.ErrorIs(t, server.Err(), errors.ErrStreamEOF)
			requireClosed(t, client.Channel())
			requireClosed(t, server.Channel())
			assert.Empty(t, ended, "the handler is still there")
			results <- errors.New("late")
			require.NoError(t, requireSoon(t, ended, "end"))
			closes, _ := b.sentStreams(t, wire.StreamClose)
			require.Len(t, closes, 1)
			assert.Equal(t, "unavailable: EOF", closes[0].Code+": "+closes[0].Error)
		})
	}
}

func TestStream_ServerIsKilled(t *testing.T) {
	t.Parallel()
	handle, servers, results := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	client := w.open(t, flow)
	server := requireSoon(t, servers, "handler")
	w.server.Kill() // Kill does not wait for the handler
	require.ErrorIs(t, client.Err(), errors.ErrStreamEOF)
	require.ErrorIs(t, server.Err(), errors.ErrStreamEOF)
	require.Error(t, server.Context().Err())
	results <- nil
}

// TestStream_ShutdownWhoseContextEnds checks that Shutdown returns when its context ends, even if
// a stream handler still runs.
func TestStream_ShutdownWhoseContextEnds(t *testing.T) {
	t.Parallel()
	handle, servers, results := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	w.open(t, flow)
	requireSoon(t, servers, "handler")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, w.server.Shutdown(ctx), context.DeadlineExceeded)
	results <- nil
}

// TestStream_ConnCloses checks that closing a conn closes all its streams properly, as psrpc does,
// and leaves no goroutine behind.
func TestStream_ConnCloses(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	handle, servers, results := handing(t)
	w := newFlowWorld(t, b, handle)
	var clients []clientText
	for range 10 {
		clients = append(clients, w.open(t, flow))
	}
	require.NoError(t, w.conn.Close())
	for _, client := range clients {
		require.ErrorIs(t, client.Err(), errors.ErrStreamClosed)
		select {
		case _, open := <-client.Channel():
			assert.False(t, open)
		default:
			assert.Fail(t, "the stream still delivers messages")
		}
		server := requireSoon(t, servers, "handler")
		requireSoon(t, server.Context().Done(), "end of the stream")
		require.ErrorIs(t, server.Err(), errors.ErrStreamClosed)
		results <- nil
	}
	require.NoError(t, w.server.Shutdown(context.Background()))
	closes, _ := b.sentStreams(t, wire.StreamClose)
	assert.Len(t, closes, len(clients))
}

// TestStream_EndsWithUnreadMessages checks that unread messages in a closed stream delay neither
// the conn nor the server when they close.
func TestStream_EndsWithUnreadMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hijacked := make(chan serverText, 1)
		w := newFlowWorld(t, bus.NewLocal(), func(stream serverText) error {
			stream.Hijack()
			hijacked <- stream
			return nil
		}, dynamic.WithServerTimeout(time.Hour))
		open := func() (clientText, serverText) {
			opts := []dynamic.RequestOption{dynamic.WithStreamWindow(1000), dynamic.WithRequestTimeout(time.Hour)}
			return w.open(t, flow, opts...), <-hijacked
		}
		start := time.Now()
		full := func(send func(text, ...dynamic.StreamOption) error) {
			for range dynamic.DefaultStreamBuffer {
				require.NoError(t, send(say("unread")))
			}
			go send(say("one too many")) // Send fails when the stream is closed
			synctest.Wait()
		}
		client, server := open()
		full(server.Send)
		require.NoError(t, server.Close(nil))
		require.Error(t, client.Err())

		client, server = open()
		full(client.Send)
		require.NoError(t, client.Close(nil))
		require.Error(t, server.Err())

		require.NoError(t, w.conn.Close())
		require.NoError(t, w.server.Shutdown(context.Background()))
		assert.Zero(t, time.Since(start))
	})
}

// TestStream_ReaderThatLags checks a reader that is slow when the stream is closed. It receives
// the remaining messages if it keeps reading, and loses them if it pauses too long.
func TestStream_ReaderThatLags(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{time.Second - 1, time.Second + 1} {
		t.Run(pause.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				handle, servers, _ := handing(t)
				w := newFlowWorld(t, bus.NewLocal(), handle, dynamic.WithServerTimeout(time.Second))
				client := w.open(t, flow, dynamic.WithStreamWindow(1000))
				server := <-servers
				for range 500 {
					require.NoError(t, client.Send(say("hi")))
				}
				require.NoError(t, client.Close(nil))
				got := 0
				for range server.Channel() {
					got++
					<-time.After(pause)
				}
				if pause < time.Second {
					assert.Equal(t, 500, got)
				} else {
					assert.LessOrEqual(t, got, dynamic.DefaultStreamBuffer+2)
				}
			})
		})
	}
}

func TestStream_ConnClosesWhileOpening(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	w.server.Kill()
	p := newFlowServer(t, w.bus, "Direct")
	client := textClient(t, w.conn, directFlow)
	opened := make(chan error, 1)
	go func() { // this goroutine ends with the conn
		_, err := client.OpenStream(context.Background(), dynamic.WithRequestTimeout(time.Hour))
		opened <- err
	}()
	p.next(wire.StreamOpen)
	require.NoError(t, w.conn.Close())
	require.ErrorIs(t, requireSoon(t, opened, "open"), errors.ErrClientClosed)
	p.next(wire.StreamClose)
	assert.Empty(t, p.frames)
}

// TestStream_BusCloses checks that a stream ends on the client if the bus is closed.
func TestStream_BusCloses(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	client := w.open(t, flow)
	require.NoError(t, w.bus.Close())
	requireSoon(t, client.Context().Done(), "end of the stream")
	require.ErrorIs(t, client.Err(), bus.ErrClosed)
	require.Error(t, client.Send(say("hi")))
}

// TestStream_ContextOfOpen checks that a stream is closed when the context passed to OpenStream
// ends. As in psrpc, the error then has the code unknown.
func TestStream_ContextOfOpen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		context func() (context.Context, context.CancelFunc)
		err     error
	}{
		"canceled": {func() (context.Context, context.CancelFunc) {
			return context.WithCancel(context.Background())
		}, context.Canceled},
		"deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 200*time.Millisecond)
		}, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newFakeBus()
				handle, servers, results := handing(t)
				w := newFlowWorld(t, b, handle)
				ctx, cancel := tt.context()
				defer cancel()
				client, err := w.tryOpen(t, ctx, flow)
				require.NoError(t, err)
				server := requireSoon(t, servers, "handler")
				require.NoError(t, client.Send(say("hi")))
				if tt.err == context.Canceled { //nolint:errorlint // the test case has exactly this error
					cancel()
				}
				requireSoon(t, server.Context().Done(), "end of the stream")
				requireClosed(t, client.Channel())
				require.ErrorIs(t, client.Err(), tt.err)
				for _, err := range []error{client.Err(), server.Err()} {
					assert.Equal(t, tt.err.Error(), requireCode(t, errors.Unknown, err).Error())
				}
				require.ErrorIs(t, client.Send(say("late")), tt.err)
				results <- nil
				closes, _ := b.sentStreams(t, wire.StreamClose)
				require.Len(t, closes, 1)
				assert.Equal(t, "unknown: "+tt.err.Error(), closes[0].Code+": "+closes[0].Error)
			})
		})
	}
}

// TestStream_ContextThatIsLongGone checks that the end of the context has no effect on a stream
// that is already closed.
func TestStream_ContextThatIsLongGone(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, idle)
	ctx, cancel := context.WithCancel(t.Context())
	client, err := w.tryOpen(t, ctx, flow)
	require.NoError(t, err)
	require.NoError(t, client.Close(nil))
	cancel()
	require.NoError(t, w.conn.Close())
	require.NoError(t, w.server.Shutdown(context.Background()))
	require.ErrorIs(t, client.Err(), errors.ErrStreamClosed)
	closes, _ := b.sentStreams(t, wire.StreamClose)
	assert.Len(t, closes, 1)
}

// TestStream_NobodyListensAnyMore checks that Send returns an error at once if the bus reports that
// the message has no receivers.
func TestStream_NobodyListensAnyMore(t *testing.T) {
	t.Parallel()
	handle, servers, _ := handing(t)
	b := newFakeBus()
	w := newFlowWorld(t, b, handle)
	w.open(t, flow)
	server := requireSoon(t, servers, "handler")
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		if report != nil {
			report.Delivered(0, nil)
		}
		return nil
	}
	err := server.Send(say("hi"), dynamic.WithStreamTimeout(time.Hour))
	require.ErrorIs(t, err, errors.ErrNoResponse)
	requireFacts(t, errors.ReasonNobodyListening, err)
	b.publish = func(_ context.Context, _ bus.Channel, _ []byte, report bus.DeliveryReport) error {
		if report != nil {
			go report.Delivered(bus.Unknown, errBroken) // this goroutine ends at once
		}
		return nil
	}
	err = server.Send(say("hi"), dynamic.WithStreamTimeout(time.Hour))
	require.ErrorIs(t, err, errBroken)
	requireFacts(t, errors.ReasonBusDown, err)
	b.publish = func(context.Context, bus.Channel, []byte, bus.DeliveryReport) error { return bus.ErrFrameTooLarge }
	requireCode(t, errors.ResourceExhausted, server.Send(say("hi")))
	b.publish = func(ctx context.Context, _ bus.Channel, _ []byte, _ bus.DeliveryReport) error {
		<-ctx.Done()
		return ctx.Err()
	}
	require.ErrorIs(t, server.Send(say("hi"), dynamic.WithStreamTimeout(time.Millisecond)), errors.ErrRequestTimedOut)
	require.NoError(t, server.Err(), "none of this closes the stream")
	b.publish = nil
}

// TestStream_ManyAtOnce opens, uses and closes streams while their service is closed and registered
// again. The race detector finds data races.
func TestStream_ManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), echoFlow)
	// While the service is closed, OpenStream may get no answer. The timeouts are short, so that
	// the goroutines do not wait long for one.
	client := textClient(t, w.newConn(t, dynamic.WithSelectionTimeout(time.Second), dynamic.WithClientTimeout(time.Second)), flow)
	stop := make(chan struct{})
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for {
				stream, err := client.OpenStream(t.Context())
				if err == nil {
					for range 5 {
						if stream.Send(say("hi")) != nil {
							break
						}
					}
					_ = stream.Close(nil)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 30 {
		require.NoError(t, w.service.Close(context.Background()))
		w.service = w.serveFlows(t, w.server, echoFlow)
		stream := w.open(t, flow)
		require.NoError(t, stream.Send(say("hi")))
		requireText(t, "hi", stream.Channel())
	}
	close(stop)
	users.Wait()
}
