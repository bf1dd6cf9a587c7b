package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// competingBus is a bus whose processes compete for queue frames, as on Redis. All servers and conns
// that use it count as one receiver.
type competingBus struct{ *fakeBus }

func (competingBus) ReceiverID() string { return "BUS_test" }

func newCompetingBus() competingBus { return competingBus{newFakeBus()} }

func isUnicast(channel string) bool { return strings.HasSuffix(channel, "|UNICAST") }

// requests returns how many requests have been sent to single servers and to queues since it was
// last called.
func (b competingBus) requests() (unicast, queued int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sent := range b.frames {
		switch {
		case isUnicast(sent.channel):
			unicast++
		case strings.HasSuffix(sent.channel, "|REQ"):
			queued++
		}
	}
	b.frames = nil
	return unicast, queued
}

// echoServer starts a server of test.Echoes that counts its calls.
func echoServer(t *testing.T, b bus.Bus, opts ...dynamic.ServerOption) (*dynamic.Server, *dynamic.Registration, *atomic.Int64) {
	t.Helper()
	calls := new(atomic.Int64)
	count := dynamic.Unary(func(_ context.Context, request text) (text, error) {
		calls.Add(1)
		return request, nil
	})
	opts = append([]dynamic.ServerOption{dynamic.WithServerTimeout(patience)}, opts...)
	server, registration := serveEchoes(t, b, dynamic.Handlers{"Echo": count, "Direct": count}, opts...)
	return server, registration, calls
}

// serveEchoes starts a server of test.Echoes.
func serveEchoes(
	t *testing.T, b bus.Bus, handlers dynamic.Handlers, opts ...dynamic.ServerOption,
) (*dynamic.Server, *dynamic.Registration) {
	t.Helper()
	server := dynamic.NewServer(b, opts...)
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	registration, err := server.Register(descriptor(t, newRegistry(t), "test.Echoes"), handlers, dynamic.AllowMissing())
	require.NoError(t, err)
	return server, registration
}

func echoClient(t *testing.T, b bus.Bus, opts ...dynamic.ConnOption) *dynamic.Client[text, text] {
	t.Helper()
	conn, err := dynamic.NewConn(b, newRegistry(t), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return textClient(t, conn, echo)
}

func requireHi(t *testing.T, client *dynamic.Client[text, text]) {
	t.Helper()
	answer, err := client.Call(t.Context(), wrapperspb.String("hi"))
	require.NoError(t, err)
	require.Equal(t, "hi", answer.GetValue())
}

// The first request goes to the queue, which shows how many receivers the queue has. Each later
// request goes to a single server, except for one per second.
func TestUnicast_CallsGoToOneServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		var calls [3]*atomic.Int64
		for i := range calls {
			_, _, calls[i] = echoServer(t, b)
		}
		client := echoClient(t, b)
		synctest.Wait()
		requireHi(t, client)
		_, queued := b.requests()
		assert.Equal(t, 1, queued)
		for range 300 {
			requireHi(t, client)
		}
		unicast, queued := b.requests()
		assert.Equal(t, 300, unicast)
		assert.Zero(t, queued)
		for _, count := range calls {
			assert.InDelta(t, 100, count.Load(), 40)
		}
		for range 5 {
			<-time.After(time.Second)
			requireHi(t, client)
			requireHi(t, client)
			unicast, queued := b.requests()
			assert.Equal(t, 1, unicast)
			assert.Equal(t, 1, queued)
		}
	})
}

// A receiver that does not announce itself must still get requests. As soon as the queue has such a
// receiver, all requests must go to the queue again.
func TestUnicast_NotWithOtherReceivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		echoServer(t, b)
		client := echoClient(t, b)
		for range 3 {
			requireHi(t, client)
			synctest.Wait()
		}
		b.requests()
		other, err := b.Subscribe(t.Context(), requestChannel("Echo"), bus.Broadcast, func([]byte) {})
		require.NoError(t, err)
		<-time.After(time.Second)
		for range 100 {
			requireHi(t, client)
		}
		unicast, queued := b.requests()
		assert.Zero(t, unicast)
		assert.Equal(t, 100, queued)
		other.Close()
		requireHi(t, client)
		requireHi(t, client)
		unicast, _ = b.requests()
		assert.Equal(t, 1, unicast)
	})
}

// A bus that wraps another bus may hide that processes compete for the frames of a queue. All
// requests then go to the queue.
func TestUnicast_NotOnOtherBuses(t *testing.T) {
	t.Parallel()
	b := newCompetingBus()
	echoServer(t, b)
	client := echoClient(t, struct{ bus.Bus }{b}, patient...)
	for range 5 {
		requireHi(t, client)
	}
	unicast, queued := b.requests()
	assert.Zero(t, unicast)
	assert.Equal(t, 5, queued)
}

// If the announcement that a server leaves is lost, the conn still sends a request to that server.
// The bus reports that the request had no receivers, and the conn sends it to the queue instead.
func TestUnicast_ServerIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		gone, _, _ := echoServer(t, b)
		_, _, calls := echoServer(t, b)
		client := echoClient(t, b)
		for range 3 {
			requireHi(t, client)
			synctest.Wait()
		}
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if strings.HasSuffix(channel.Name, "|PRESENCE") {
				return nil
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		require.NoError(t, gone.Shutdown(t.Context()))
		calls.Store(0)
		b.requests()
		for range 20 {
			requireHi(t, client)
		}
		assert.EqualValues(t, 20, calls.Load())
		unicast, queued := b.requests()
		assert.Equal(t, 1, queued)
		assert.Equal(t, 20, unicast)
	})
}

// A server declines requests for topics that it no longer serves. The conn then sends these
// requests to the queue.
func TestUnicast_ServerDeclines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		region := func(id string) *dynamic.Registration {
			server := dynamic.NewServer(b)
			t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
			answer := func(context.Context, text) (text, error) { return wrapperspb.String(id), nil }
			registration, err := server.Register(descriptor(t, newRegistry(t, kindsSource), "kinds.Fleet"),
				dynamic.Handlers{"Region": dynamic.Unary(answer)}, dynamic.AllowMissing())
			require.NoError(t, err)
			require.NoError(t, registration.RegisterTopic("Region", "eu"))
			return registration
		}
		leaving := region("leaving")
		region("staying")
		conn, err := dynamic.NewConn(b, newRegistry(t, kindsSource))
		require.NoError(t, err)
		defer conn.Close()
		client := textClient(t, conn, "kinds.Fleet/Region")
		call := func() string {
			answer, err := client.Call(t.Context(), wrapperspb.String("x"), dynamic.WithTopic("eu"))
			require.NoError(t, err)
			return answer.GetValue()
		}
		for range 3 { // the conn sends no discovery request until a topic is used a second time
			call()
			<-time.After(time.Second / 10)
		}
		b.requests()
		for range 100 {
			call()
		}
		unicast, _ := b.requests()
		assert.GreaterOrEqual(t, unicast, 99)
		leaving.DeregisterTopic("Region", "eu")
		for range 100 {
			assert.Equal(t, "staying", call())
		}
		unicast, queued := b.requests()
		assert.GreaterOrEqual(t, unicast, 99)
		assert.LessOrEqual(t, queued, 2)
	})
}

// If a server does not answer a request, the conn sends it a discovery request. Until the server
// responds, it receives no more requests.
func TestUnicast_SilentServerIsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		_, _, silent := echoServer(t, b)
		_, _, other := echoServer(t, b)
		client := echoClient(t, b)
		for range 3 {
			requireHi(t, client)
			synctest.Wait()
		}
		// From now on, the bus withholds all frames for one of the servers, namely the first one to
		// which a request is sent.
		var mu sync.Mutex
		var stopped string
		var kept []func()
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			mu.Lock()
			defer mu.Unlock()
			if stopped == "" && isUnicast(channel.Name) {
				stopped = channel.Name
			}
			if channel.Name != stopped {
				return b.Bus.Publish(ctx, channel, frame, report)
			}
			kept = append(kept, func() { _ = b.Bus.Publish(context.Background(), channel, frame, nil) })
			report.Delivered(1, nil)
			return nil
		}
		_, err := client.Call(t.Context(), wrapperspb.String("hi"))
		requireFacts(t, errors.ReasonNoSign, err)
		silent.Store(0)
		other.Store(0)
		for range 50 {
			requireHi(t, client)
		}
		unicast, _ := b.requests()
		assert.GreaterOrEqual(t, unicast, 49)
		mu.Lock()
		stopped = "nobody"
		require.Len(t, kept, 2, "the request and one question")
		for _, deliver := range kept {
			deliver()
		}
		mu.Unlock()
		synctest.Wait()
		for range 50 {
			requireHi(t, client)
		}
		assert.Greater(t, silent.Load(), int64(9))
		assert.Greater(t, other.Load(), int64(9))
	})
}

// A server may miss both a request and the discovery request that the conn then sends to it alone.
// It still receives the conn's next discovery request to all servers, so that it gets requests
// again.
func TestUnicast_SilentServerReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		_, _, one := echoServer(t, b)
		_, _, other := echoServer(t, b)
		client := echoClient(t, b)
		for range 3 {
			requireHi(t, client)
			synctest.Wait()
		}
		// The first two unicast frames are lost. They are a request and the discovery request to the
		// server that has not answered it.
		lost := 0
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if lost == 2 || !isUnicast(channel.Name) {
				return b.Bus.Publish(ctx, channel, frame, report)
			}
			lost++
			report.Delivered(1, nil)
			return nil
		}
		_, err := client.Call(t.Context(), wrapperspb.String("hi"))
		requireFacts(t, errors.ReasonNoSign, err)
		require.Equal(t, 2, lost)
		for range 10 {
			<-time.After(time.Second / 2)
			requireHi(t, client)
		}
		one.Store(0)
		other.Store(0)
		for range 50 {
			requireHi(t, client)
		}
		assert.Greater(t, one.Load(), int64(9))
		assert.Greater(t, other.Load(), int64(9))
	})
}

// A server declines a request that reaches it at the end of its shutdown, even if the bus is so
// busy that sending the decline takes longer than the rest of the shutdown. The request then goes
// to the queue.
func TestUnicast_ServerDeclinesDuringShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		leaving, _, _ := echoServer(t, b)
		echoServer(t, struct{ bus.Bus }{b}) // announces nothing
		client := echoClient(t, b)
		for range 3 {
			requireHi(t, client)
			synctest.Wait()
		}
		var calling sync.WaitGroup
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			envelope, err := wire.ParseEnvelope(frame)
			require.NoError(t, err)
			switch envelope.Kind {
			case wire.KindPresence:
				presence, err := wire.ParsePresence(envelope.Value)
				require.NoError(t, err)
				if presence.State == wire.PresenceLeft {
					calling.Go(func() { requireHi(t, client) })
					<-time.After(time.Millisecond)
				}
				return nil
			case wire.KindClaimRequest:
				<-time.After(time.Second / 10)
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		b.requests()
		require.NoError(t, leaving.Shutdown(t.Context()))
		calling.Wait()
		unicast, queued := b.requests()
		assert.Equal(t, 1, unicast)
		assert.Equal(t, 1, queued)
	})
}

// A new version of a service takes over the unicast channel, so no call fails. After the last
// version has been closed, the channel is closed too.
func TestUnicast_Replace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newCompetingBus()
		_, registration, _ := echoServer(t, b)
		client := echoClient(t, b)
		for range 3 {
			requireHi(t, client)
			synctest.Wait()
		}
		b.requests()
		for version := range 3 {
			answer := func(context.Context, text) (text, error) { return wrapperspb.String(fmt.Sprint(version)), nil }
			next, err := registration.Replace(descriptor(t, newRegistry(t), "test.Echoes"),
				dynamic.Handlers{"Echo": dynamic.Unary(answer)}, dynamic.AllowMissing())
			require.NoError(t, err)
			require.NoError(t, registration.Close(t.Context()))
			registration = next
			for range 10 {
				answer, err := client.Call(t.Context(), wrapperspb.String("hi"))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(version), answer.GetValue())
			}
		}
		unicast, queued := b.requests()
		assert.Equal(t, 30, unicast)
		assert.Zero(t, queued)
		require.NoError(t, registration.Close(t.Context()))
		for channel := range b.open() {
			assert.False(t, isUnicast(channel), channel)
		}
		_, err := client.Call(t.Context(), wrapperspb.String("hi"))
		requireFacts(t, errors.ReasonNobodyListening, err)
	})
}

// If the broker denies access to channels that psrpc does not use, all requests must go to the
// queue. The server and the conn together log at most one warning.
func TestUnicast_Denied(t *testing.T) {
	t.Parallel()
	for _, denied := range []string{"|PRESENCE", "|DISCOVER", "|UNICAST"} {
		for name, deny := range map[string]func(report bus.DeliveryReport) error{
			"Publish fails": func(bus.DeliveryReport) error { return errDenied },
			"the report fails": func(report bus.DeliveryReport) error {
				if report != nil {
					report.Delivered(bus.Unknown, errDenied)
				}
				return nil
			},
		} {
			t.Run(denied+", "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b, serverLog, connLog := newCompetingBus(), &capturedLog{}, &capturedLog{}
					b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
						if strings.HasSuffix(channel.Name, denied) {
							return deny(report)
						}
						return b.Bus.Publish(ctx, channel, frame, report)
					}
					echoServer(t, b, dynamic.WithLogger(slog.New(serverLog)))
					client := echoClient(t, b, dynamic.WithLogger(slog.New(connLog)))
					for range 20 {
						requireHi(t, client)
						<-time.After(20 * time.Millisecond)
					}
					assert.LessOrEqual(t, len(connLog.all()), 1)
					assert.Empty(t, serverLog.all())
				})
			})
		}
		t.Run(denied+", Subscribe fails", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, serverLog, connLog := newCompetingBus(), &capturedLog{}, &capturedLog{}
				b.subscribe = func(
					ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
				) (bus.Subscription, error) {
					if strings.HasSuffix(channel.Name, denied) {
						return nil, errDenied
					}
					return b.Bus.Subscribe(ctx, channel, mode, handler)
				}
				echoServer(t, b, dynamic.WithLogger(slog.New(serverLog)))
				client := echoClient(t, b, dynamic.WithLogger(slog.New(connLog)))
				for range 20 {
					requireHi(t, client)
					<-time.After(20 * time.Millisecond)
				}
				unicast, queued := b.requests()
				assert.Zero(t, unicast)
				assert.Equal(t, 20, queued)
				assert.Len(t, append(connLog.all(), serverLog.all()...), 1)
			})
		})
	}
}

// servedIn returns the field ServedIn of all responses that have been sent since it or requests was
// last called.
func (b competingBus) servedIn(t *testing.T) (times []uint32) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sent := range b.frames {
		if envelope, err := wire.ParseEnvelope(sent.frame); err == nil && envelope.Kind == wire.KindResponse {
			response, err := wire.ParseResponse(envelope.Value)
			require.NoError(t, err)
			times = append(times, response.ServedIn)
		}
	}
	b.frames = nil
	return times
}

// Responses to unicast requests contain the time that the server has taken. If the method or the
// server has a limit, which a burst of requests might exceed, they do not.
func TestUnicast_ServedIn(t *testing.T) {
	t.Parallel()
	handler := func(_ context.Context, request text) (text, error) {
		<-time.After(3 * time.Millisecond)
		err := errors.NewErrorf(errors.NotFound, "no such text")
		switch request.GetValue() {
		case "fail":
			return nil, err
		case "reject":
			return nil, dynamic.Unprocessed(err)
		}
		return request, nil
	}
	for name, tt := range map[string]struct {
		server  []dynamic.ServerOption
		handler []dynamic.HandlerOption
		want    uint32
	}{
		"no limit":            {want: 3000},
		"limit of the server": {server: []dynamic.ServerOption{dynamic.WithMaxConcurrentRequests(5)}},
		"limit of the method": {handler: []dynamic.HandlerOption{dynamic.WithMaxConcurrent(5)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newCompetingBus()
				serveEchoes(t, b, dynamic.Handlers{"Echo": dynamic.Unary(handler, tt.handler...)}, tt.server...)
				client := echoClient(t, b)
				synctest.Wait()
				requireHi(t, client)
				assert.Equal(t, []uint32{0}, b.servedIn(t), "the first request goes to the queue")
				requireHi(t, client)
				assert.Equal(t, []uint32{tt.want}, b.servedIn(t))
				_, err := client.Call(t.Context(), wrapperspb.String("fail"))
				require.ErrorIs(t, err, errors.NotFound)
				assert.Equal(t, []uint32{tt.want}, b.servedIn(t))
				_, err = client.Call(t.Context(), wrapperspb.String("reject"))
				require.ErrorIs(t, err, errors.NotFound)
				assert.Equal(t, []uint32{0}, b.servedIn(t))
				requireHi(t, client)
				unicast, _ := b.requests()
				assert.Equal(t, 1, unicast)
			})
		})
	}
}

// burstWorld has 20 servers of test.Echoes, and a client.
type burstWorld struct {
	client *dynamic.Client[text, text]
	// handle is called by all handlers. calls counts the calls of each server.
	handle func()
	calls  [20]atomic.Int64
	// limit is the maximum number of calls that a server handles at the same time. It answers all
	// others with the error rejection.
	limit     int64
	rejection error
}

func newBurstWorld(t *testing.T, limit int64, rejection error) *burstWorld {
	t.Helper()
	b, w := newCompetingBus(), &burstWorld{handle: func() {}, limit: limit, rejection: rejection}
	for i := range w.calls {
		running := new(atomic.Int64)
		serveEchoes(t, b, dynamic.Handlers{"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			w.calls[i].Add(1)
			defer running.Add(-1)
			if running.Add(1) > w.limit {
				return nil, w.rejection
			}
			w.handle()
			return request, nil
		})})
	}
	w.client = echoClient(t, b)
	synctest.Wait()
	requireHi(t, w.client) // goes to the queue
	return w
}

// callOneByOne makes so many calls that the client knows how fast each server is.
func (w *burstWorld) callOneByOne(t *testing.T) {
	t.Helper()
	for range 10 * len(w.calls) {
		requireHi(t, w.client)
	}
}

// serversOf makes concurrent calls and returns the number of servers that have received one, and the
// number of calls that have failed.
func (w *burstWorld) serversOf(t *testing.T, calls int) (servers, failed int) {
	t.Helper()
	for i := range w.calls {
		w.calls[i].Store(0)
	}
	release, handle := make(chan struct{}), w.handle
	w.handle = func() { <-release }
	var running sync.WaitGroup
	var failures atomic.Int64
	for range calls {
		running.Go(func() {
			if _, err := w.client.Call(t.Context(), wrapperspb.String("hi")); err != nil {
				failures.Add(1)
			}
		})
	}
	synctest.Wait()
	close(release)
	running.Wait()
	w.handle = handle
	for i := range w.calls {
		if w.calls[i].Load() > 0 {
			servers++
		}
	}
	return servers, int(failures.Load())
}

// Requests of concurrent callers go to fast servers in bursts, but not to slow ones.
func TestUnicast_Bursts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newBurstWorld(t, 1000, nil)
		servers, _ := w.serversOf(t, 20)
		assert.Equal(t, 20, servers, "the client does not know yet that the servers are fast")
		servers, _ = w.serversOf(t, 32)
		assert.Equal(t, 2, servers)
		w.handle = func() { <-time.After(5 * time.Millisecond) }
		w.callOneByOne(t)
		servers, _ = w.serversOf(t, 20)
		assert.GreaterOrEqual(t, servers, 19, "one call may go to the queue")
	})
}

// If a server rejects requests of a burst because of a limit that only its handler or an interceptor
// knows, the client sends no more bursts.
func TestUnicast_RejectedBurst(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rejection   error
		burstsAfter bool
	}{
		"resource exhausted": {rejection: errors.NewErrorf(errors.ResourceExhausted, "too many calls")},
		"unprocessed":        {rejection: dynamic.Unprocessed(errors.NewErrorf(errors.Unavailable, "too many calls"))},
		"another error":      {rejection: errors.NewErrorf(errors.NotFound, "no such text"), burstsAfter: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newBurstWorld(t, 4, tt.rejection)
				w.callOneByOne(t)
				_, failed := w.serversOf(t, 16)
				assert.Positive(t, failed)
				assert.LessOrEqual(t, failed, 12)
				w.callOneByOne(t)
				servers, _ := w.serversOf(t, 4)
				assert.Equal(t, tt.burstsAfter, servers == 1, servers)
			})
		})
	}
}

// Servers of large messages get no bursts.
func TestUnicast_NoBurstsOfLargeMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newBurstWorld(t, 1000, nil)
		for range 100 {
			_, err := w.client.Call(t.Context(), wrapperspb.String(strings.Repeat("x", 8<<10)))
			require.NoError(t, err)
		}
		servers, _ := w.serversOf(t, 20)
		assert.GreaterOrEqual(t, servers, 19, "one call may go to the queue")
	})
}
