package interop

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// requireEcho sends a message on a stream and checks that it comes back.
func requireEcho(t *testing.T, s stream, message string) {
	t.Helper()
	require.NoError(t, s.send(message))
	assert.Equal(t, message, receive(t, s.messages).GetValue())
}

// requireClosed waits until the other side has closed a stream and checks the error.
func requireClosed(t *testing.T, l library, s stream, code, text string) {
	t.Helper()
	for range s.messages {
	}
	got, ok := l.describe(s.err())
	require.True(t, ok, "%v", s.err())
	assert.Equal(t, []string{code, text}, []string{got.code, got.text})
}

func testStream(t *testing.T, f fleet) {
	t.Helper()
	served := make(chan stream, 1)
	f.to.server(t, f, handlers{stream: func(s stream) error {
		for message := range s.messages {
			if message.GetValue() == "close" {
				return f.to.newError("aborted", "as you wish")
			}
			if err := s.send(message.GetValue()); err != nil {
				return err
			}
		}
		served <- s
		return nil
	}})
	c := f.from.client(t, f)
	s, err := c.open(t.Context(), "Flow", nil)
	require.NoError(t, err)
	for i := range 100 {
		requireEcho(t, s, strconv.Itoa(i))
	}
	require.NoError(t, s.close(f.from.newError("not_found", "enough")))
	requireClosed(t, f.to, receive(t, served), "not_found", "enough")

	s, err = c.open(t.Context(), "Flow", nil)
	require.NoError(t, err)
	require.NoError(t, s.send("close"))
	requireClosed(t, f.from, s, "aborted", "as you wish")
}

// testLongStream sends 10,000 messages from both sides at once.
func testLongStream(t *testing.T, f fleet) {
	t.Helper()
	const messages = 10_000
	transfer := func(s stream) error {
		sent := make(chan error, 1)
		go func() { sent <- sendNumbers(s, messages) }()
		if err := readNumbers(s, messages); err != nil {
			return err
		}
		return <-sent
	}
	served := make(chan error, 1)
	f.to.server(t, f, handlers{stream: func(s stream) error {
		err := transfer(s)
		served <- err
		return err
	}})
	s, err := f.from.client(t, f).open(t.Context(), "Flow", nil)
	require.NoError(t, err)
	require.NoError(t, transfer(s))
	require.NoError(t, <-served)
}

func sendNumbers(s stream, n int) error {
	for i := range n {
		if err := s.send(strconv.Itoa(i)); err != nil {
			return fmt.Errorf("sending message %d: %w", i, err)
		}
	}
	return nil
}

// readNumbers checks that the next n messages of a stream are the numbers from 0 on.
func readNumbers(s stream, n int) error {
	for i := range n {
		select {
		case message, ok := <-s.messages:
			if !ok || message.GetValue() != strconv.Itoa(i) {
				return fmt.Errorf("received %q as message %d: %w", message.GetValue(), i, s.err())
			}
		case <-time.After(callTimeout):
			return fmt.Errorf("message %d did not arrive", i)
		}
	}
	return nil
}

func testSubscription(t *testing.T, f fleet) {
	t.Helper()
	publisher := f.to.server(t, f, answers("A"))
	var subscribers []<-chan string
	for range 3 {
		subscribers = append(subscribers, f.from.client(t, f).subscribe(t, "Feed", nil))
	}
	for i := range 200 {
		update := strconv.Itoa(i)
		require.NoError(t, publisher.publish(t.Context(), "Feed", nil, update))
		for _, updates := range subscribers {
			require.Equal(t, update, receive(t, updates))
		}
	}
}

func testQueueSubscription(t *testing.T, f fleet) {
	t.Helper()
	publisher := f.to.server(t, f, answers("A"))
	received := make(chan string, 1000)
	for range 3 {
		updates := f.from.client(t, f).subscribeJobs(t)
		go func() { // It ends when the subscription ends.
			for update := range updates {
				received <- update
			}
		}()
	}
	requireJobs(t, publisher, received, "job", 200)
}

// requireJobs publishes updates on a queue subscription and checks that each is received once.
func requireJobs(t *testing.T, publisher serverPeer, received <-chan string, name string, n int) {
	t.Helper()
	for i := range n {
		update := fmt.Sprintf("%s %d", name, i)
		require.NoError(t, publisher.publishJob(t.Context(), update))
		assert.Equal(t, update, receive(t, received))
	}
	assert.Empty(t, received)
}

// testCompression uses methods of every kind with messages that are worth compressing.
func testCompression(t *testing.T, f fleet) {
	t.Helper()
	var compressed, others atomic.Int64
	f.observe(t, func(frame []byte) {
		if envelope, err := wire.ParseEnvelope(frame); err == nil && wire.IsCompressed(envelope.Value) {
			compressed.Add(1)
		} else {
			others.Add(1)
		}
	})
	long := func(i int) string { return strconv.Itoa(i) + strings.Repeat(" and a long text", 200) }
	s := f.to.server(t, f, answers("A"))
	c := f.from.client(t, f)
	feed, jobs := c.subscribe(t, "Feed", nil), c.subscribeJobs(t)
	flow, err := c.open(t.Context(), "Flow", nil)
	require.NoError(t, err)
	for i := range 20 {
		message := long(i)
		for _, method := range []string{"Queue", "Best"} {
			response, err := c.call(t.Context(), method, nil, message)
			require.NoError(t, err)
			assert.Equal(t, "A "+message, response)
		}
		responses, err := c.every(t.Context(), "Every", nil, message, 1)
		require.NoError(t, err)
		assert.Equal(t, []string{"A " + message}, responses)
		requireEcho(t, flow, message)
		require.NoError(t, s.publish(t.Context(), "Feed", nil, message))
		assert.Equal(t, message, receive(t, feed))
		require.NoError(t, s.publishJob(t.Context(), message))
		assert.Equal(t, message, receive(t, jobs))
	}
	require.NoError(t, flow.close(nil))
	// Both sides compress 60 requests, 60 responses, 40 stream messages and 40 updates. The observer
	// may lag behind.
	testkit.Eventually(t, func() bool { return compressed.Load() > 150 }, "one side alone would compress 120")
}

// testSkipClaim checks that a psrpc server with this feature runs requests of dynpsrpc without a
// claim, and that a dynpsrpc server serves clients of psrpc versions that have the feature.
func testSkipClaim(t *testing.T, f fleet) {
	t.Helper()
	var skipped atomic.Int64
	if f.to.name == theirs.name {
		f.to = psrpcWith(features{skipClaim: true, skipped: &skipped})
	}
	testQueue(t, f)
	if f.to.name == theirs.name {
		assert.EqualValues(t, 200, skipped.Load(), "calls that were run without a claim")
	}
}

func testMixedFleet(t *testing.T, f fleet) {
	t.Helper()
	var lost losses
	fleetLoad{servers: []library{f.from, f.to, f.from, f.to}, clients: []library{f.from, f.from}}.start(t, f.broker, &lost)()
	assert.Empty(t, lost.counts)
}

// testShutdown replaces three servers one after the other while clients make calls. A dynpsrpc
// server loses no call. A psrpc server that shuts down can lose the calls that are on their way to
// it, even those of psrpc clients.
func testShutdown(t *testing.T, f fleet) {
	t.Helper()
	const callers = 8
	var ran runs
	var servers []serverPeer
	for range 3 {
		servers = append(servers, f.to.server(t, f, ran.counted(answers("A"))))
	}
	load := startLoad(t, callers, f.from.client(t, f))
	for _, old := range servers {
		f.to.server(t, f, ran.counted(answers("A")))
		old.shutdown(t)
	}
	failed := load.stop()
	ran.requireAtMostOnce(t, 1)
	if f.to.name == theirs.name {
		assert.LessOrEqual(t, failed, len(servers)*callers)
	} else {
		assert.Zero(t, failed)
	}
}
