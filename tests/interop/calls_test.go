package interop

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// runs counts how often each request has been run.
type runs struct {
	mu    sync.Mutex
	times map[string]int
}

// counted returns handlers that also count the requests.
func (r *runs) counted(h handlers) handlers {
	next := h.unary
	h.unary = func(ctx context.Context, request string) (string, error) {
		r.mu.Lock()
		if r.times == nil {
			r.times = make(map[string]int)
		}
		r.times[request]++
		r.mu.Unlock()
		return next(ctx, request)
	}
	return h
}

// forget forgets all requests.
func (r *runs) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.times)
}

// requireOnce checks that each of the given number of requests has been run once.
func (r *runs) requireOnce(t *testing.T, requests int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	assert.Len(t, r.times, requests, "requests that have been run")
	for request, times := range r.times {
		if times != 1 {
			assert.Fail(t, "run more than once", "%s: %d times", request, times)
		}
	}
}

// requireAtMostOnce checks that no request has been run more than once. The request of a multi call
// may be run as many times as there are servers.
func (r *runs) requireAtMostOnce(t *testing.T, servers int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for request, times := range r.times {
		limit := 1
		if strings.Contains(request, "Every") {
			limit = servers
		}
		assert.LessOrEqual(t, times, limit, request)
	}
}

func testQueue(t *testing.T, f fleet) {
	t.Helper()
	var ran runs
	for _, name := range []string{"A", "B"} {
		f.to.server(t, f, ran.counted(answers(name)))
	}
	c := f.from.client(t, f)
	const callers, each = 4, 50
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				request := strconv.Itoa(caller*each + i)
				response, err := c.call(t.Context(), "Queue", nil, request)
				if assert.NoError(t, err) {
					assert.Contains(t, []string{"A " + request, "B " + request}, response)
				}
			}
		})
	}
	all.Wait()
	ran.requireOnce(t, callers*each)
}

func testAffinity(t *testing.T, f fleet) {
	t.Helper()
	for name, affinity := range map[string]float32{"A": 0.2, "B": 0.8, "C": 0.5} {
		h := answers(name)
		h.affinity = affinity
		f.to.server(t, f, h)
	}
	c := f.from.client(t, f)
	var selected selections
	for i := range 10 {
		request := strconv.Itoa(i)
		started := time.Now()
		response, err := c.call(t.Context(), "Best", nil, request)
		require.NoError(t, err)
		selected.add(t, "B "+request, response, time.Since(started))
	}
	selected.require(t)
}

// selections checks which servers calls with affinity routing have selected. A client of either
// library selects a worse server if the claim of the best one arrives too late, as on a busy machine.
type selections struct{ best, worse int }

// add checks the response to a call that took the given time. want is the response of the best
// server.
func (s *selections) add(t *testing.T, want, response string, took time.Duration) {
	if response == want {
		s.best++
		return
	}
	s.worse++
	assert.GreaterOrEqual(t, took, dynamic.DefaultShortCircuitTimeout, "%q, not %q", response, want)
}

// require checks that few calls have selected a worse server.
func (s *selections) require(t *testing.T) {
	assert.LessOrEqual(t, s.worse, s.best/2, "calls that have not selected the best server")
}

func testMulti(t *testing.T, f fleet) {
	t.Helper()
	for _, name := range []string{"A", "B", "C"} {
		f.to.server(t, f, answers(name))
	}
	c := f.from.client(t, f)
	for i := range 5 {
		request := strconv.Itoa(i)
		responses, err := c.every(t.Context(), "Every", nil, request, 3)
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"A " + request, "B " + request, "C " + request}, responses)
	}
}

// testTopics checks the routing by topic, with two servers in one topic and one in another.
func testTopics(t *testing.T, f fleet) {
	t.Helper()
	const red, blue = "red", "blue, or not"
	publishers := make(map[string]serverPeer)
	for name, room := range map[string]string{"A": red, "B": red, "C": blue} {
		h := answers(name)
		h.room = room
		publishers[room] = f.to.server(t, f, h)
	}
	c := f.from.client(t, f)
	updates := map[string]<-chan string{red: c.subscribe(t, "FeedIn", []string{red}), blue: c.subscribe(t, "FeedIn", []string{blue})}
	for i := range 20 {
		request := strconv.Itoa(i)
		for _, method := range []string{"QueueIn", "OnlyIn"} {
			if method == "QueueIn" { // a topic of OnlyIn must have a single server
				response, err := c.call(t.Context(), method, []string{red}, request)
				require.NoError(t, err)
				assert.Contains(t, []string{"A " + request, "B " + request}, response)
			}
			response, err := c.call(t.Context(), method, []string{blue}, request)
			require.NoError(t, err)
			assert.Equal(t, "C "+request, response)
		}
	}
	for room, want := range map[string][]string{red: {"A x", "B x"}, blue: {"C x"}} {
		responses, err := c.every(t.Context(), "EveryIn", []string{room}, "x", len(want))
		require.NoError(t, err)
		assert.ElementsMatch(t, want, responses)
		s, err := c.open(t.Context(), "FlowIn", []string{room})
		require.NoError(t, err)
		requireEcho(t, s, "hello")
		require.NoError(t, s.close(nil))
		for i := range 20 {
			update := room + strconv.Itoa(i)
			require.NoError(t, publishers[room].publish(t.Context(), "FeedIn", []string{room}, update))
			assert.Equal(t, update, receive(t, updates[room]))
		}
	}
	assert.Empty(t, updates[red])
	assert.Empty(t, updates[blue])
}

// receive returns the next value of a channel.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value, ok := <-from:
		require.True(t, ok, "the channel is closed")
		return value
	case <-time.After(callTimeout):
		require.FailNow(t, "nothing arrived")
	}
	panic("unreachable")
}

// errorCodes are the codes of psrpc.
var errorCodes = []string{
	"canceled", "malformed_request", "malformed_result", "deadline_exceeded", "unavailable", "unknown", "invalid_argument",
	"not_found", "not_acceptable", "already_exists", "permission_denied", "resource_exhausted", "failed_precondition",
	"aborted", "out_of_range", "unimplemented", "internal", "data_loss", "unauthenticated", "unprocessable_entity",
	"upstream_server_error", "upstream_client_error",
}

// testErrors checks that the caller receives the same error as a caller that uses the handler's
// library.
func testErrors(t *testing.T, f fleet) {
	t.Helper()
	detail := wrapperspb.String("a detail")
	h := handlers{unary: func(_ context.Context, request string) (string, error) {
		if request == "plain" {
			return "", errors.New("no code")
		}
		return "", f.to.newError(request, "the text of "+request, detail)
	}}
	f.to.server(t, f, h)
	c := f.from.client(t, f)
	for _, code := range errorCodes {
		_, err := c.call(t.Context(), "Queue", nil, code)
		got, ok := f.from.describe(err)
		require.True(t, ok, code)
		want, _ := f.to.describe(f.to.newError(code, "the text of "+code, detail))
		requireSameDetails(t, want.details, got.details)
		want.details, got.details = nil, nil
		assert.Equal(t, want, got)
	}
	_, err := c.call(t.Context(), "Queue", nil, "plain")
	got, ok := f.from.describe(err)
	require.True(t, ok)
	assert.Equal(t, "unknown", got.code)
	assert.Equal(t, "no code", got.text)
}

func requireSameDetails(t *testing.T, want, got []proto.Message) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		assert.True(t, proto.Equal(want[i], got[i]), "%v, not %v", got[i], want[i])
	}
}

func testMetadata(t *testing.T, f fleet) {
	t.Helper()
	show := func(ctx context.Context) string {
		metadata := f.to.metadata(ctx)
		shown := ""
		for _, key := range slices.Sorted(maps.Keys(metadata)) {
			shown += key + "=" + metadata[key] + ";"
		}
		return shown
	}
	f.to.server(t, f, handlers{
		unary:  func(ctx context.Context, _ string) (string, error) { return show(ctx), nil },
		stream: func(s stream) error { return s.send(show(s.context)) },
	})
	c := f.from.client(t, f)
	ctx := f.from.withMetadata(t.Context(), map[string]string{"Key": "value", "empty": "", "größe": "1 µm"})
	const want = "Key=value;empty=;größe=1 µm;"
	response, err := c.call(ctx, "Queue", nil, "")
	require.NoError(t, err)
	assert.Equal(t, want, response)
	responses, err := c.every(ctx, "Every", nil, "", 1)
	require.NoError(t, err)
	assert.Equal(t, []string{want}, responses)
	s, err := c.open(ctx, "Flow", nil)
	require.NoError(t, err)
	assert.Equal(t, want, receive(t, s.messages).GetValue())
}

func testTimeout(t *testing.T, f fleet) {
	t.Helper()
	const timeout = 4 * time.Second // long, because the handler must start before
	left, returned := make(chan time.Duration, 1), make(chan struct{})
	defer close(returned)
	f.to.server(t, f, handlers{unary: func(ctx context.Context, _ string) (string, error) {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		<-returned
		return "", nil
	}})
	c := f.from.client(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	_, err := c.call(ctx, "Queue", nil, "")
	got, ok := f.from.describe(err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, "deadline_exceeded", got.code, got.text)
	assert.LessOrEqual(t, receive(t, left), timeout)
}
