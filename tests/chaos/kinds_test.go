package chaos

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// ledger counts how many times each server ran each request, and how many times each subscriber
// received each update.
type ledger struct {
	mu   sync.Mutex
	runs map[string]int // keyed by the name of the server or method and the ID of the operation
}

func newLedger() *ledger { return &ledger{runs: map[string]int{}} }

func (l *ledger) note(who, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[who+" "+id]++
}

// len returns the number of different entries in the ledger.
func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.runs)
}

// requireOnce requires that no server ran a request twice and no subscriber received an update
// twice.
func (l *ledger) requireOnce(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d runs", len(l.runs))
	var twice []string
	for run, count := range l.runs {
		if count > 1 {
			twice = append(twice, fmt.Sprintf("%s: %d times", run, count))
		}
	}
	require.Empty(t, twice)
}

// serveAll starts a server with handlers of every kind. The handlers record each request in the
// ledger.
func serveAll(t testing.TB, b bus.Bus, name string, l *ledger) (*dynamic.Server, *dynamic.Registration) {
	t.Helper()
	echo := func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
		l.note(name, request.GetName())
		return testkit.Echo(ctx, request)
	}
	return testkit.Serve(t, b, dynamic.Handlers{
		"NormalRPC":    dynamic.Unary(echo),
		"MoveRegion":   dynamic.Unary(echo),
		"IntensiveRPC": dynamic.Unary(echo),
		"GetStats":     dynamic.Unary(echo),
		"ExchangeUpdates": dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
			for message := range stream.Channel() {
				l.note(name, "message-"+strconv.FormatInt(message.GetSequence(), 10))
			}
			return nil
		}),
	})
}

// call returns an operation that makes a single call.
func call(t testing.TB, conn *dynamic.Conn, timeout time.Duration, method string, topic ...string) attempt {
	t.Helper()
	client := testkit.Caller(t, conn, method).Topic(topic...)
	return func(id string) error {
		_, err := client.Call(context.Background(), &api.MyRequest{Name: id}, dynamic.WithRequestTimeout(timeout))
		return err
	}
}

// callAll returns an operation that makes a multi call. The operation succeeds if at least one
// server responds without an error. The call ends when the given number of servers have responded,
// or at its timeout.
func callAll(t testing.TB, conn *dynamic.Conn, timeout time.Duration, servers int) attempt {
	t.Helper()
	client := testkit.Caller(t, conn, "GetStats")
	return func(id string) error {
		responses, err := client.CallMulti(context.Background(), &api.MyRequest{Name: id},
			dynamic.WithRequestTimeout(timeout), dynamic.WithExpectedResponses(servers))
		if err != nil {
			return err
		}
		answered, err := false, error(errors.NewErrorf(errors.DeadlineExceeded, "no server has answered"))
		for response := range responses {
			if response.Err != nil {
				err = response.Err
			}
			answered = answered || response.Err == nil
		}
		if answered {
			return nil
		}
		return err
	}
}

// open returns an operation that opens a stream and closes it.
func open(t testing.TB, conn *dynamic.Conn) attempt {
	t.Helper()
	client := testkit.Streamer(t, conn)
	return func(string) error {
		stream, err := client.OpenStream(context.Background(), dynamic.WithRequestTimeout(patient))
		if err == nil {
			_ = stream.Close(nil) // ignore the error, because the server may have closed the stream
		}
		return err
	}
}

// sendOn returns an operation that sends a message on a stream. All messages use the same stream.
// If it ends, the next operation opens another one.
func sendOn(t testing.TB, conn *dynamic.Conn, timeout time.Duration, opened func()) attempt {
	t.Helper()
	client := testkit.Streamer(t, conn)
	var stream dynamic.ClientStream[*api.MyClientMessage, *api.MyServerMessage]
	return func(id string) error {
		if stream == nil || stream.Err() != nil {
			var err error
			if stream, err = client.OpenStream(context.Background(), dynamic.WithRequestTimeout(timeout)); err != nil {
				stream = nil
				return err
			}
			opened()
		}
		sequence, err := strconv.ParseInt(strings.TrimPrefix(id, "attempt-"), 10, 64)
		if err != nil {
			return err
		}
		return stream.Send(&api.MyClientMessage{Sequence: sequence})
	}
}

// update returns an operation that publishes an update and waits until a subscriber has received
// it. Received updates are recorded in the ledger.
func update(
	t testing.TB, conn *dynamic.Conn, timeout time.Duration, method string, publisher *dynamic.Registration, l *ledger,
) attempt {
	t.Helper()
	subscription, err := testkit.Subscriber(t, conn, method).Subscribe(context.Background())
	require.NoError(t, err)
	return func(id string) error {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := publisher.Publish(ctx, method, &api.MyUpdate{Id: id}); err != nil {
			return err
		}
		for {
			select {
			case update, open := <-subscription.Channel():
				if !open {
					return subscription.Err()
				}
				l.note(method, update.GetId())
				if update.GetId() == id {
					return nil
				}
			case <-ctx.Done():
				return errors.NewErrorf(errors.DeadlineExceeded, "the update did not come")
			}
		}
	}
}

// startAllKinds starts operations of all kinds, with a short timeout. It calls opened whenever an
// operation opens a stream.
func startAllKinds(
	t testing.TB, conn *dynamic.Conn, servers int, publisher *dynamic.Registration, l *ledger, opened func(),
) []*load {
	t.Helper()
	queue, affinity := call(t, conn, brief, "NormalRPC"), call(t, conn, brief, "IntensiveRPC")
	multi := callAll(t, conn, brief, servers)
	return []*load{
		startLoad(t, "queue", queue, queue, queue, queue),
		startLoad(t, "affinity", affinity, affinity),
		startLoad(t, "multi", multi, multi),
		startLoad(t, "stream", sendOn(t, conn, brief, opened), sendOn(t, conn, brief, opened)),
		startLoad(t, "updates to all", update(t, conn, brief, "UpdateState", publisher, l)),
		startLoad(t, "updates to one", update(t, conn, brief, "ProcessUpdate", publisher, l)),
	}
}
