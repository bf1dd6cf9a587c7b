//go:build chaos && unix

package long_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// cuttable is a network that includes a link that the test can cut.
type cuttable struct {
	link *testenv.Proxy
	// over returns a bus that uses the link. beside returns a bus that connects to the broker
	// directly.
	over, beside func() bus.Bus
	// subscriptions returns the number of subscriptions on the broker.
	subscriptions func() int
}

func onCuttable(t *testing.T, test func(t *testing.T, n cuttable)) {
	t.Helper()
	t.Run(testkit.RedisName, func(t *testing.T) {
		t.Parallel()
		broker := testenv.Redis(t)
		link := testenv.NewProxy(t, broker.Addr())
		operator := redis.NewClient(&redis.Options{Addr: broker.Addr()})
		t.Cleanup(func() { operator.Close() })
		test(t, cuttable{
			link, func() bus.Bus { return testkit.Redis(t, link.Addr()) }, func() bus.Bus { return testkit.Redis(t, broker.Addr()) },
			func() int {
				channels, err := operator.PubSubChannels(context.Background(), "*Region*").Result()
				require.NoError(t, err)
				return len(channels)
			},
		})
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		t.Parallel()
		broker := testenv.NATS(t)
		addr := strings.TrimPrefix(broker.URL(), "nats://")
		link := testenv.NewProxy(t, addr)
		test(t, cuttable{
			link, func() bus.Bus { return testkit.NATS(t, "nats://"+link.Addr()) }, func() bus.Bus { return testkit.NATS(t, broker.URL()) },
			func() int { return subjectsWithTopics(t, broker.Server()) },
		})
	})
}

// subjectsWithTopics returns the number of subscriptions on the NATS server that are for topics of
// this test.
func subjectsWithTopics(t *testing.T, s *server.Server) (count int) {
	t.Helper()
	all, err := s.Subsz(&server.SubszOptions{Subscriptions: true, Limit: 1 << 20})
	require.NoError(t, err)
	for _, subscription := range all.Subs {
		if strings.Contains(subscription.Subject, "topic") {
			count++
		}
	}
	return count
}

// The link is cut while a client sends messages on a stream. The messages must arrive in order and
// at most once. With a window of one message, every message for which Send returned no error must
// arrive.
func TestStream_OverCuts(t *testing.T) {
	for _, window := range []int{1, 32} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			onCuttable(t, func(t *testing.T, n cuttable) { testStreamOverCuts(t, n, window) })
		})
	}
}

func testStreamOverCuts(t *testing.T, n cuttable, window int) {
	const cuts = 20
	var mu sync.Mutex
	received := map[string][]int64{} // sequence numbers, keyed by the name of the stream
	handler := dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
		for message := range stream.Channel() {
			mu.Lock()
			received[string(message.GetPayload())] = append(received[string(message.GetPayload())], message.GetSequence())
			mu.Unlock()
		}
		return nil
	})
	keepalive := dynamic.WithKeepalive(time.Second)
	testkit.Serve(t, n.beside(), dynamic.Handlers{"ExchangeUpdates": handler}, keepalive)
	client := testkit.Streamer(t, testkit.Conn(t, n.over(), keepalive))
	var stream dynamic.ClientStream[*api.MyClientMessage, *api.MyServerMessage]
	var name string
	accepted, streams, failed := map[string][]int64{}, 0, 0
	cut := time.Now()
	for sequence, done := int64(0), 0; done < cuts; sequence++ {
		if time.Since(cut) > 300*time.Millisecond {
			n.link.Cut()
			cut = time.Now()
			done++
		}
		if stream == nil || stream.Err() != nil {
			var err error
			stream, err = client.OpenStream(t.Context(), dynamic.WithRequestTimeout(time.Second), dynamic.WithStreamWindow(window))
			if err != nil {
				stream = nil
				continue
			}
			streams++
			name = fmt.Sprint("stream ", streams)
		}
		if stream.Send(&api.MyClientMessage{Sequence: sequence, Payload: []byte(name)}) == nil {
			accepted[name] = append(accepted[name], sequence)
		} else {
			failed++
		}
	}
	if stream != nil {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// Ignore the error: Flush fails if a message or its acknowledgement was lost in a cut.
		_ = stream.Flush(ctx)
	}
	mu.Lock()
	defer mu.Unlock()
	messages, lost := 0, 0
	for stream, sequences := range accepted {
		got := received[stream]
		messages += len(got)
		assert.True(t, slices.IsSorted(got), "%s is out of order", stream)
		assert.Len(t, slices.Compact(slices.Clone(got)), len(got), "%s got a message twice", stream)
		for _, sequence := range sequences {
			if _, ok := slices.BinarySearch(got, sequence); !ok {
				lost++
			}
		}
	}
	t.Logf("%d cuts, %d streams: %d messages arrived, %d Sends failed; %d messages of Sends without an error were lost",
		cuts, streams, messages, failed, lost)
	assert.Positive(t, messages)
	if window == 1 {
		assert.Zero(t, lost)
	}
}

// The link is cut again and again while calls are made with the interceptor Retry. Nearly all calls
// must succeed. No request may run twice, because the methods are not idempotent.
func TestRetry_OverCuts(t *testing.T) {
	const calls = 4000
	onCuttable(t, func(t *testing.T, n cuttable) {
		var mu sync.Mutex
		runs := map[string]int{}
		count := dynamic.Unary(func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			mu.Lock()
			runs[request.GetName()]++
			mu.Unlock()
			return testkit.Echo(ctx, request)
		})
		handlers := dynamic.Handlers{"NormalRPC": count, "IntensiveRPC": count}
		testkit.Serve(t, n.beside(), handlers)
		testkit.Serve(t, n.over(), handlers)
		conn := testkit.Conn(t, n.over(), interceptors.Retry(interceptors.WithAttempts(10), interceptors.WithRetryBudget(1000, 1)))
		ended := make(chan struct{})
		var cutting sync.WaitGroup
		cuts := 0
		cutting.Go(func() {
			for {
				select {
				case <-time.After(500 * time.Millisecond):
					n.link.Cut()
					cuts++
				case <-ended:
					return
				}
			}
		})
		clients := []*dynamic.Client[*api.MyRequest, *api.MyResponse]{
			testkit.Caller(t, conn, "NormalRPC"), testkit.Caller(t, conn, "IntensiveRPC"),
		}
		var failed atomic.Int64
		concurrently(calls, 8, func(i int) {
			_, err := clients[i%2].Call(t.Context(), &api.MyRequest{Name: fmt.Sprint(i)})
			if err != nil {
				failed.Add(1)
				assert.Contains(t, []errors.ErrorCode{errors.Unavailable, errors.DeadlineExceeded}, testkit.Code(err))
			}
			pause(20 * time.Millisecond)
		})
		close(ended)
		cutting.Wait()
		twice := 0
		mu.Lock()
		defer mu.Unlock()
		for _, times := range runs {
			if times > 1 {
				twice++
			}
		}
		t.Logf("%d cuts: %d calls, failed %d, run twice %d", cuts, calls, failed.Load(), twice)
		assert.Zero(t, twice)
		assert.Less(t, failed.Load(), int64(calls/20))
	})
}

// Topics are registered and deregistered while the link is cut every 70 ms. In the end, the broker
// must have exactly the subscriptions of the registered topics, and calls to all of these topics
// must succeed.
func TestRegistrations_OverCuts(t *testing.T) {
	onCuttable(t, func(t *testing.T, n cuttable) {
		t.Logf("seed %d", *seed)
		_, registration := testkit.Serve(t, n.over(), dynamic.Handlers{"MoveRegion": dynamic.Unary(testkit.Echo)})
		require.NoError(t, registration.RegisterTopic("MoveRegion", "topic-of-all"))
		perTopic := n.subscriptions()
		require.Positive(t, perTopic)
		stop := make(chan struct{})
		var cutting sync.WaitGroup
		cuts := 0
		cutting.Go(func() {
			for {
				select {
				case <-time.After(70 * time.Millisecond):
					n.link.Cut()
					cuts++
				case <-stop:
					return
				}
			}
		})
		const workers, topicsEach = 8, 200
		var changes, failed atomic.Int64
		var mu sync.Mutex
		wanted := []string{"topic-of-all"}
		until := time.Now().Add(8 * time.Second)
		concurrently(workers, workers, func(worker int) {
			plan := rand.New(rand.NewPCG(*seed, uint64(worker)))
			registered := map[string]bool{}
			for time.Now().Before(until) {
				topic := fmt.Sprintf("topic-%d-%d", worker, plan.IntN(topicsEach))
				changes.Add(1)
				var err error
				if registered[topic] {
					// The topic is deregistered even if DeregisterTopic returns an error because
					// the broker cannot be reached.
					delete(registered, topic)
					err = registration.DeregisterTopic("MoveRegion", topic)
				} else if err = registration.RegisterTopic("MoveRegion", topic); err == nil {
					registered[topic] = true
				}
				if err != nil {
					failed.Add(1)
					pause(5 * time.Millisecond) // give the bus time to reconnect
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for topic := range registered {
				wanted = append(wanted, topic)
			}
		})
		close(stop)
		cutting.Wait()
		client := testkit.Caller(t, testkit.Conn(t, n.beside()), "MoveRegion")
		unreachable := 0
		for _, topic := range wanted {
			reach := func() bool {
				_, err := client.Topic(topic).Call(t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(time.Second))
				return err == nil
			}
			if !reach() && !assert.Eventually(t, reach, patience, 50*time.Millisecond, topic) {
				unreachable++
			}
		}
		expected := perTopic * len(wanted)
		if !assert.Eventually(t, func() bool { return n.subscriptions() == expected }, patience, 50*time.Millisecond) {
			t.Errorf("the broker has %d subscriptions instead of %d", n.subscriptions(), expected)
		}
		t.Logf("%d cuts, %d registrations and deregistrations, %d of which failed: %d topics, unreachable %d; %d subscriptions at the broker",
			cuts, changes.Load(), failed.Load(), len(wanted), unreachable, n.subscriptions())
	})
}
