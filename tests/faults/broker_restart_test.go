package faults

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

const (
	restarts = 20
	// recovery is how soon everything works again when the broker is back: within a second, and
	// what was attempted in the meantime may have to time out first.
	recovery = time.Second + brief
)

// broker is one that can be killed.
type broker interface {
	Kill()
	Start()
}

func TestBroker_KilledUnderLoad(t *testing.T) {
	t.Parallel()
	t.Run(scene.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t)
		testKilledUnderLoad(t, server, func() bus.Bus { return scene.Redis(t, server.Addr()) })
	})
	t.Run(scene.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATSProcess(t)
		testKilledUnderLoad(t, server, func() bus.Bus { return scene.NATS(t, server.URL()) })
	})
}

// testKilledUnderLoad: while the broker is away every call ends by its deadline, with a code that
// says so; when it is back all works again, on the same servers, clients, streams and
// subscriptions; and nothing is ever run twice.
func testKilledUnderLoad(t *testing.T, broker broker, connect func() bus.Bus) {
	done := newLedger()
	_, publisher := serveAll(t, connect(), "first", done)
	serveAll(t, connect(), "second", done)
	var streams atomic.Int64
	loads := startAllKinds(t, scene.Conn(t, connect()), 2, publisher, done, func() { streams.Add(1) })
	recoveries := map[string]measure{}
	for range scaled(restarts) {
		nextSuccesses(loads).await(t, time.Now())
		broker.Kill()
		nextFailures(loads).await(t, time.Now())
		working := nextSuccesses(loads)
		broker.Start()
		for i, taken := range working.await(t, time.Now()) {
			recoveries[loads[i].kind] = append(recoveries[loads[i].kind], taken)
		}
	}
	for _, l := range loads {
		l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
		t.Logf("%s works again: %v", l.kind, recoveries[l.kind])
		assert.Less(t, recoveries[l.kind].max(), recovery, l.kind)
	}
	t.Logf("%d streams were opened", streams.Load())
	done.requireOnce(t)
}
