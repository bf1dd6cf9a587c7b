package dynamic_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// unicastCounter is a bus that counts the unicast requests that it publishes.
type unicastCounter struct {
	bus.Bus

	unicast atomic.Int64
}

func (b *unicastCounter) CountsReceivers() bool {
	counter, ok := b.Bus.(bus.ReceiverCounter)
	return !ok || counter.CountsReceivers()
}

func (b *unicastCounter) ReceiverID() string {
	if competing, ok := b.Bus.(bus.Competing); ok {
		return competing.ReceiverID()
	}
	return ""
}

func (b *unicastCounter) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if isUnicast(channel.Name) {
		b.unicast.Add(1)
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// While a client makes calls that any server may handle, servers are started, shut down and killed.
// No call may be handled twice. A call may fail only if the killed server has claimed it, because
// Kill does not wait for the grant. After each change, the client must again send requests to
// single servers.
func TestFirstAvailable_ServersComeAndGo(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"redis": func(t *testing.T) string { t.Helper(); return testenv.Redis(t).URL() },
		"nats":  func(t *testing.T) string { t.Helper(); return testenv.NATS(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, reg := url(t), newRegistry(t)
			connect := func() bus.Bus {
				b, err := bus.Open(t.Context(), url)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, b.Close()) })
				return b
			}
			var runs sync.Map
			start := func() (*dynamic.Server, *atomic.Int64) {
				server, handled := dynamic.NewServer(connect(), patientServer), new(atomic.Int64)
				t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
				best := func(_ context.Context, request text) (text, error) {
					handled.Add(1)
					if _, again := runs.LoadOrStore(request.GetValue(), true); again {
						t.Errorf("request %s was run twice", request.GetValue())
					}
					return request, nil
				}
				_, err := server.Register(descriptor(t, reg, "test.Echoes"), dynamic.Handlers{
					"Best": dynamic.Unary(best, dynamic.WithAffinity(func(context.Context, text) float32 { return 0 })),
				}, dynamic.AllowMissing())
				require.NoError(t, err)
				return server, handled
			}
			start()
			start()
			caller := &unicastCounter{Bus: connect()}
			conn, err := dynamic.NewConn(caller, reg, patientConn)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, conn.Close()) })
			client := textClient(t, conn, "test.Echoes/Best")

			const callers = 16
			var running sync.WaitGroup
			var calls, failed atomic.Int64
			var killed atomic.Pointer[dynamic.Server]
			done := make(chan struct{})
			stop := sync.OnceFunc(func() {
				close(done)
				running.Wait()
			})
			defer stop()
			for range callers {
				running.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						request := fmt.Sprint(calls.Add(1))
						answer, err := client.Call(t.Context(), wrapperspb.String(request),
							// The calls that the killed server has claimed end at this timeout.
							dynamic.WithRequestTimeout(10*time.Second),
							dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true}))
						facts, _ := errors.FactsOf(err)
						if server := killed.Load(); facts.Reason == errors.ReasonClaimedButSilent && server != nil {
							failed.Add(1)
							assert.Equal(t, server.ID(), facts.ServerID, "%v", err)
						} else if assert.NoError(t, err) {
							assert.Equal(t, request, answer.GetValue())
						}
					}
				})
			}
			await := func(count *atomic.Int64) {
				before := count.Load()
				require.Eventually(t, func() bool { return count.Load() > before+50 }, 2*time.Minute, time.Millisecond)
			}
			await(&caller.unicast)
			leaving, handled := start()
			await(handled)
			doomed, handled := start()
			await(handled)
			require.NoError(t, leaving.Shutdown(t.Context()))
			await(&caller.unicast)
			killed.Store(doomed)
			doomed.Kill()
			await(&caller.unicast)
			stop()
			assert.LessOrEqual(t, failed.Load(), int64(callers), "each caller has at most one call that the killed server has claimed")
		})
	}
}
