package chaos

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

const (
	restarts = 20
	// recovery is the time until all operations succeed again after the broker has been restarted.
	// Buses reconnect within a second, and operations that were started earlier may first have to
	// time out. On a busy machine, the recovery may take longer, by at most the duration slack.
	recovery = time.Second + brief
)

// broker is a broker process that can be killed and restarted.
type broker interface {
	Kill()
	Start()
}

func TestBroker_KilledUnderLoad(t *testing.T) {
	t.Parallel()
	t.Run(testkit.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t)
		testKilledUnderLoad(t, server, func() bus.Bus { return testkit.Redis(t, server.Addr()) })
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATSProcess(t)
		testKilledUnderLoad(t, server, func() bus.Bus { return testkit.NATS(t, server.URL()) })
	})
}

// testKilledUnderLoad kills and restarts the broker repeatedly while operations of all kinds are
// running. Without the broker, every operation must end by its deadline, with the code Unavailable
// or DeadlineExceeded. After a restart, operations must succeed again with the same servers,
// clients and subscriptions. No request may run twice.
func testKilledUnderLoad(t *testing.T, broker broker, connect func() bus.Bus) {
	done := newLedger()
	_, publisher := serveAll(t, connect(), "first", done)
	serveAll(t, connect(), "second", done)
	var streams atomic.Int64
	loads := startAllKinds(t, testkit.Conn(t, connect()), 2, publisher, done, func() { streams.Add(1) })
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
		assert.Less(t, recoveries[l.kind].min(), recovery, l.kind)
		assert.Less(t, recoveries[l.kind].max(), recovery+slack, l.kind)
	}
	t.Logf("%d streams were opened", streams.Load())
	done.requireOnce(t)
}
