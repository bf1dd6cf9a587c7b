package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// world holds the servers and clients of one test. Its service names are unique, because tests may
// share a broker.
type world struct {
	testing.TB
	network Network
	// suffix is appended to the name of each service on the bus.
	suffix   string
	registry *registry.Registry

	mu sync.Mutex
	// peers contains the functions that close the servers and conns.
	peers   []func()
	busses  []bus.Bus
	servers int
}

var (
	processID  = rand.Uint32()
	worldCount atomic.Uint32
)

func newWorld(t testing.TB, network Network) *world {
	t.Helper()
	w := &world{
		TB: t, network: network, registry: registry.New(),
		suffix: fmt.Sprintf("X%08xN%d", processID, worldCount.Add(1)),
	}
	for _, service := range []string{calls, crowd, streams, feeds} {
		_, err := w.registry.Register(w.descriptor(service), registry.WithWireName(w.wireName(service)))
		require.NoError(t, err)
	}
	t.Cleanup(w.close)
	return w
}

// close closes all servers and conns in reverse order of creation, and then the buses. The buses
// are last because servers and conns may share a bus.
func (w *world) close() {
	for _, end := range slices.Backward(w.peers) {
		end()
	}
	for _, b := range w.busses {
		assert.NoError(w, b.Close())
	}
}

func (w *world) wireName(service string) string { return service + w.suffix }

func (w *world) descriptor(service string) protoreflect.ServiceDescriptor {
	w.Helper()
	parsed, err := schema()
	require.NoError(w, err)
	s, ok := parsed.Service("e2e.v1." + service)
	require.True(w, ok, service)
	return s.Descriptor()
}

// fullName returns the full method name, which clients use to call the method.
func fullName(service, method string) string { return "e2e.v1." + service + "/" + method }

func (w *world) connect() bus.Bus {
	w.Helper()
	b := w.network.Connect(w.TB)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busses = append(w.busses, b)
	return b
}

func (w *world) atEnd(end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = append(w.peers, end)
}

// server returns a server on a new connection. Its logger discards all records, because some
// handlers panic on purpose.
func (w *world) server() *dynamic.Server {
	w.Helper()
	b := w.connect()
	w.mu.Lock()
	w.servers++
	serverID := fmt.Sprintf("SRV_%s_%d", w.suffix, w.servers)
	w.mu.Unlock()
	server := dynamic.NewServer(b, dynamic.WithServerID(serverID), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	w.atEnd(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(w, server.Shutdown(ctx))
	})
	return server
}

// serve registers a service on a server. Calls to methods without a handler fail with the code
// Unimplemented.
func (w *world) serve(server *dynamic.Server, service string, handlers dynamic.Handlers) *dynamic.Registration {
	w.Helper()
	registration, err := w.register(server, service, handlers)
	require.NoError(w, err)
	return registration
}

func (w *world) register(server *dynamic.Server, service string, handlers dynamic.Handlers) (*dynamic.Registration, error) {
	return server.Register(w.descriptor(service), handlers, dynamic.AllowMissing(), dynamic.WithWireName(w.wireName(service)))
}

// serveTopics registers a topic for each method of the given kinds that has topics. The topics are
// listed in addressings.
func (w *world) serveTopics(registration *dynamic.Registration, kinds []string) {
	w.Helper()
	for _, address := range addressings {
		if address.topic == nil {
			continue
		}
		for _, kind := range kinds {
			require.NoError(w, registration.RegisterTopic(kind+address.suffix, address.topic...))
		}
	}
}

// conn returns a [dynamic.Conn] on a bus with its own connection. Its calls wait longer for a
// server, because on a busy machine, a server may not answer within the default time of a second.
func (w *world) conn(opts ...dynamic.ConnOption) *dynamic.Conn {
	w.Helper()
	return w.defaultConn(append([]dynamic.ConnOption{dynamic.WithSelectionTimeout(patience)}, opts...)...)
}

// defaultConn is like conn, but its calls wait for the default time. It is for tests in which a call
// may find no server.
func (w *world) defaultConn(opts ...dynamic.ConnOption) *dynamic.Conn {
	w.Helper()
	conn, err := dynamic.NewConn(w.connect(), w.registry, opts...)
	require.NoError(w, err)
	w.atEnd(func() { assert.NoError(w, conn.Close()) })
	return conn
}

// soon waits for a value on a channel and returns it. It fails the test if no value arrives in
// time.
func soon[T any](t testing.TB, signal <-chan T, what string) T {
	t.Helper()
	value, ok := receive(signal)
	require.True(t, ok, "did not come: %s", what)
	return value
}

// receive is like soon, but may be called from goroutines that must not call FailNow. If no value
// arrives in time, ok is false.
func receive[T any](signal <-chan T) (value T, ok bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case value = <-signal:
		return value, true
	case <-timer.C:
		return value, false
	}
}

// ended fails the test if a channel is not closed in time. It discards the values that arrive
// before the channel is closed.
func ended[T any](t testing.TB, messages <-chan T, what string) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-messages:
			if !ok {
				return
			}
		case <-timer.C:
			require.FailNow(t, "the channel was not closed: "+what)
		}
	}
}

// requireCode requires that err is or wraps an error with the given code, and returns that error.
func requireCode(t testing.TB, code errors.ErrorCode, err error) errors.Error {
	t.Helper()
	require.Error(t, err)
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, code, coded.Code(), "%v", err)
	return coded
}
