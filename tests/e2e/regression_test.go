package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// newLocalNetwork returns an in-process network. All peers of a test share one bus.
func newLocalNetwork() Network {
	var networks sync.Map
	return Network{
		Connect: func(t testing.TB) bus.Bus {
			b, _ := networks.LoadOrStore(t, bus.NewLocal())
			return b.(bus.Bus)
		},
		CountsReceivers: true, NoticesSilence: true,
	}
}

// A server sends messages on a stream and closes it. The client does not read them. Conn.Close must
// not wait until the messages are read.
func TestConn_CloseWithUnreadClosedStream(t *testing.T) {
	w := newWorld(t, newLocalNetwork())
	sent := make(chan struct{})
	w.serve(w.server(), streams, dynamic.Handlers{
		kindQueue: dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
			defer close(sent)
			for range 2 * dynamic.DefaultStreamBuffer {
				if err := stream.Send(&api.MyServerMessage{}); err != nil {
					return err
				}
			}
			return nil
		}, dynamic.WithStreamWindow(500)),
	})
	conn := w.conn()
	// The timeout is short, so that the test does not take long if Close waits.
	stream := openGenerated(t, conn, kindQueue, dynamic.WithRequestTimeout(10*time.Second))
	soon(t, sent, "messages")
	soon(t, stream.Context().Done(), "end of the stream")
	started := time.Now()
	require.NoError(t, conn.Close())
	assert.Less(t, time.Since(started), 5*time.Second)
}

// One of three servers responds too late to a multi call. Once this response has arrived, multi calls
// must wait for the server again.
func TestMulti_SlowServerIsNotForgotten(t *testing.T) {
	w := newWorld(t, newLocalNetwork())
	var slow atomic.Bool
	slow.Store(true)
	release := make(chan struct{})
	for i := range 3 {
		w.serve(w.server(), calls, dynamic.Handlers{
			kindMulti: dynamic.Unary(func(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
				if i == 2 && slow.Load() {
					<-release // longer than the first call waits
				} else if i == 2 {
					// Later, the server takes only a little longer than the others.
					<-time.After(5 * time.Millisecond)
				}
				return respond(request), nil
			}),
		})
	}
	conn := w.conn()
	client := newClient[*api.MyRequest, *api.MyResponse](t, conn, fullName(calls, kindMulti), nil)
	count := func(opts ...dynamic.RequestOption) (count int) {
		for response := range client.Responses(t.Context(), sample("Ada"), opts...) {
			require.NoError(t, response.Err)
			count++
		}
		return count
	}
	require.Equal(t, 2, count(dynamic.WithRequestTimeout(100*time.Millisecond)))
	slow.Store(false)
	close(release)
	require.Eventually(t, func() bool { return conn.Stats().Unmatched == 1 }, patience, time.Millisecond, "its response arrives")
	for range 3 {
		assert.Equal(t, 3, count(dynamic.WithRequestTimeout(5*time.Second)))
	}
}

// A peer sends two claims with the same server ID. The client must count them as claims of one
// server. It must therefore wait for the claim of the second server before it grants the request.
func TestAffinity_DuplicateClaimsAreOneServer(t *testing.T) {
	w := newWorld(t, newLocalNetwork())
	f, conn := newForger(w), w.conn()
	proceed := make(chan struct{})
	server := w.server()
	w.serve(server, calls, dynamic.Handlers{
		kindAffinity: dynamic.Unary(func(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			return &api.MyResponse{Text: "the best"}, nil
		}, dynamic.WithAffinity(func(context.Context, *api.MyRequest) float32 {
			<-proceed
			return 10
		})),
	})
	requests, stop := f.listen(f.requestChannel(kindAffinity), bus.Broadcast)
	defer stop()
	grants, stopGrants := f.listen(wire.ClaimResponseChannel(w.wireName(calls), kindAffinity, nil), bus.Broadcast)
	defer stopGrants()
	answered := make(chan string, 1)
	call := newGeneratedCall(t, conn, kindAffinity)
	go func() {
		response, err := call(t.Context(), sample("Ada"))
		answered <- fmt.Sprint(response.GetText(), err)
	}()
	request, err := wire.ParseRequest(soon(t, requests, "request").Value)
	require.NoError(t, err)
	f.flood(request, 2)
	// The client would grant the request without waiting if it counted two servers. Otherwise, it
	// waits 200 ms for the second claim.
	select {
	case <-grants:
		assert.Fail(t, "granted before the second server has claimed")
	case <-time.After(50 * time.Millisecond):
	}
	close(proceed)
	soon(t, answered, "answer")
}

// Opening a stream must not fail while one of two servers shuts down.
func TestStream_OpensWhileOneOfTwoServersLeaves(t *testing.T) {
	for _, kind := range []string{kindQueue, kindAffinity} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, newLocalNetwork())
			newServer := func() *dynamic.Server {
				server := w.server()
				w.serve(server, streams, dynamic.Handlers{kind: shapes[0].stream()})
				return server
			}
			leaving := newServer()
			client := newClient[*api.MyClientMessage, *api.MyServerMessage](t, w.conn(), fullName(streams, kind), nil)
			c := startCallers(t, churnCallers, func() error {
				stream, err := client.OpenStream(context.Background())
				if err != nil {
					return err
				}
				_ = stream.Close(nil)
				return nil
			})
			for range churnRounds {
				coming := newServer()
				c.wait(t, churnCalls)
				require.NoError(t, leaving.Shutdown(t.Context()))
				c.wait(t, churnCalls)
				leaving = coming
			}
			requireNoFailures(t, c)
		})
	}
}

// Calls to a server that is killed must fail with the code Unavailable, and with no other error.
func TestServer_KillTellsItsCallers(t *testing.T) {
	for _, kind := range callKinds {
		// Skip affinity methods: a killed server does not respond to a call that it has been
		// granted.
		if kind == kindAffinity {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, newLocalNetwork())
			c := startCallers(t, churnCallers, anyAnswer(t, w.conn(), kind, kind))
			for range 5 {
				server := w.server()
				w.serve(server, calls, dynamic.Handlers{kind: shapes[0].unary()})
				c.wait(t, churnCalls)
				server.Kill()
				c.wait(t, churnCallers)
			}
			total, failures := c.stop()
			others := map[string]int{}
			for _, err := range failures {
				if coded, ok := errors.AsType[errors.Error](err); !ok || coded.Code() != errors.Unavailable {
					others[err.Error()]++
				}
			}
			for text, count := range others {
				t.Logf("%d: %s", count, text)
			}
			assert.Empty(t, others, "of %d calls", total)
		})
	}
}

// If a context has metadata, ContextWithMetadata must accept nil as additional metadata.
func TestContextWithMetadata_Nil(t *testing.T) {
	ctx := dynamic.ContextWithMetadata(t.Context(), map[string]string{"key": "value"})
	assert.NotPanics(t, func() { dynamic.ContextWithMetadata(ctx, nil) })
}

// Two topics are different if their parts differ, even if the parts contain NUL characters. It must
// therefore be possible to register both.
func TestRegistration_TopicsWithNUL(t *testing.T) {
	w := newWorld(t, newLocalNetwork())
	registration := w.serve(w.server(), calls, dynamic.Handlers{"QueueTopics": shapes[0].unary()})
	require.NoError(t, registration.RegisterTopic("QueueTopics", "a\x00b", "c"))
	assert.NoError(t, registration.RegisterTopic("QueueTopics", "a", "b\x00c"))
}

// The affinity function of a server returns after the client has selected another server. The
// server must not wait for a grant: its shutdown must not take long.
func TestServer_ClaimAfterTheGrant(t *testing.T) {
	w := newWorld(t, newLocalNetwork())
	quick, late := w.server(), w.server()
	entered, proceed := make(chan struct{}), make(chan struct{})
	w.serve(quick, calls, dynamic.Handlers{
		// A server does not claim a request that has already been granted to another server. This
		// server must therefore not be selected before the late server has called its affinity
		// function.
		kindAffinity: dynamic.Unary(answering[*api.MyRequest, *api.MyResponse],
			dynamic.WithAffinity(func(context.Context, *api.MyRequest) float32 {
				<-entered
				return 1
			})),
	})
	w.serve(late, calls, dynamic.Handlers{
		kindAffinity: dynamic.Unary(answering[*api.MyRequest, *api.MyResponse],
			dynamic.WithAffinity(func(context.Context, *api.MyRequest) float32 {
				close(entered)
				<-proceed
				return 1
			})),
	})
	call := newGeneratedCall(t, w.conn(), kindAffinity)
	_, err := call(t.Context(), sample("Ada"), dynamic.WithRequestTimeout(time.Hour),
		dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true}))
	require.NoError(t, err)
	soon(t, entered, "affinity function")
	close(proceed)
	started := time.Now()
	require.NoError(t, late.Shutdown(t.Context()))
	assert.Less(t, time.Since(started), 500*time.Millisecond)
}

// delayedBus is a bus whose Publish sometimes returns late, although the frame has been delivered,
// as can happen with a broker. If the name of a channel ends with suffix, Publish returns only
// after hold has been closed.
type delayedBus struct {
	bus.Bus

	suffix string
	hold   <-chan struct{}
}

func (b delayedBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	err := b.Bus.Publish(ctx, channel, frame, report)
	if len(channel.Name) > len(b.suffix) && channel.Name[len(channel.Name)-len(b.suffix):] == b.suffix {
		<-b.hold
	}
	return err
}

// The selected server returns an error before the client's Publish of the grant has returned. The
// call must return the error of the server.
func TestCall_QuickErrorOfTheGrantedServer(t *testing.T) {
	w := newWorld(t, newLocalNetwork())
	w.serve(w.server(), calls, dynamic.Handlers{
		kindAffinity: dynamic.Unary(func(context.Context, *api.MyRequest) (*api.MyResponse, error) { return nil, errDetailed }),
	})
	hold := make(chan struct{})
	conn, err := dynamic.NewConn(delayedBus{w.connect(), "|RCLAIM", hold}, w.registry)
	require.NoError(t, err)
	w.atEnd(func() { assert.NoError(t, conn.Close()) })
	responses, stop := newForger(w).listen(wire.ResponseChannel(w.wireName(calls), conn.ID()), bus.Broadcast)
	defer stop()
	answered := make(chan error, 1)
	call := newGeneratedCall(t, conn, kindAffinity)
	go func() {
		_, err := call(context.Background(), sample("Ada"), dynamic.WithRequestTimeout(time.Second))
		answered <- err
	}()
	soon(t, responses, "response")
	close(hold)
	requireCode(t, errors.NotFound, soon(t, answered, "answer"))
}
