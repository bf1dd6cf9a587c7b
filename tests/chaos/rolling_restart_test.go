package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

const (
	generations = 10
	fleetSize   = 3
)

// Servers are replaced one after the other. Each old server is shut down after a new one has
// started. No call may fail.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		done := newLedger()
		newServer := func() (leave func()) {
			b := network.Connect(t)
			server, registration := serveAll(t, b, "server", done)
			require.NoError(t, registration.RegisterTopic("MoveRegion", "here"))
			return func() {
				require.NoError(t, server.Shutdown(t.Context()))
				// On an in-process network, all peers share one bus.
				if network.Name != testkit.LocalName {
					require.NoError(t, b.Close())
				}
			}
		}
		var fleet []func()
		for range fleetSize {
			fleet = append(fleet, newServer())
		}
		conn := testkit.Conn(t, network.Connect(t))
		queue, affinity := call(t, conn, patient, "NormalRPC"), call(t, conn, patient, "IntensiveRPC")
		topic, multi := call(t, conn, patient, "MoveRegion", "here"), callAll(t, conn, patient, fleetSize)
		loads := []*load{
			startLoad(t, "queue", queue, queue),
			startLoad(t, "affinity", affinity, affinity),
			startLoad(t, "topic", topic, topic),
			startLoad(t, "multi", multi),
			startLoad(t, "opening streams", open(t, conn)),
		}
		for i := range scaled(generations * fleetSize) {
			coming := newServer()
			nextSuccesses(loads).await(t, time.Now())
			fleet[i%fleetSize]()
			fleet[i%fleetSize] = coming
			nextSuccesses(loads).await(t, time.Now())
		}
		for _, l := range loads {
			l.requireOutcomes(t, patient)
		}
	})
}
