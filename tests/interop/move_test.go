package interop

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A service moves from psrpc to dynpsrpc step by step while clients make calls, and then back.
// First the servers move, one after the other, and then the clients; on the way back, the clients
// move first. No call may run twice. No call may fail, except for calls to a psrpc server that
// shuts down, which psrpc loses without dynpsrpc, too.
func TestMove_StepByStep(t *testing.T) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) { moveFleet(t, b.start(t)) })
	}
}

func moveFleet(t *testing.T, b broker) {
	t.Helper()
	const callers = 4 // of each client
	var ran runs
	h := ran.counted(answers("A"))
	var servers [3]serverPeer
	for i := range servers {
		servers[i] = theirs.server(t, b, h)
	}
	clients := []*movingClient{{clientPeer: theirs.client(t, b)}, {clientPeer: theirs.client(t, b)}}
	moveServers := func(l library) {
		for i, old := range servers {
			servers[i] = l.server(t, b, h)
			old.shutdown(t)
		}
	}
	moveClients := func(l library) {
		for _, c := range clients {
			c.move(l.client(t, b))
		}
	}
	for _, step := range []struct {
		name        string
		move        func(library)
		to          library
		maxFailures int
	}{
		{"the servers move", moveServers, ours, len(servers) * len(clients) * callers},
		{"the clients move", moveClients, ours, 0},
		{"the clients move back", moveClients, theirs, 0},
		{"the servers move back", moveServers, theirs, 0},
	} {
		load := startLoad(t, callers, clients[0], clients[1])
		step.move(step.to)
		failed := load.stop()
		t.Logf("%s: %d of %d calls failed", step.name, failed, load.calls.Load())
		assert.LessOrEqual(t, failed, step.maxFailures, step.name)
	}
	ran.requireAtMostOnce(t, 1)
}

// movingClient is a client that can be replaced while it makes calls.
type movingClient struct {
	clientPeer

	mu sync.RWMutex // is held for reading while a call runs
}

func (c *movingClient) call(ctx context.Context, method string, topic []string, request string) (string, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.clientPeer.call(ctx, method, topic, request)
}

// move waits for the running calls, closes the old client and uses the next one from now on.
func (c *movingClient) move(next clientPeer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.close()
	c.clientPeer = next
}
