//go:build !psrpc_oldest

package interop

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// On NATS, a request may be delivered to a member of the queue group that serves another method.
// psrpc processes drop such requests. For example, about 80 % of the calls to one psrpc server fail
// if five other psrpc processes are in its queue group. dynpsrpc processes pass the requests on
// until they reach the server, so most calls must succeed.
func TestPeers_QueueWithOtherMembers(t *testing.T) {
	for _, from := range []library{ours, theirs} {
		t.Run(from.name+" calls", func(t *testing.T) {
			b := brokers[1].start(t)
			theirs.server(t, b, answers("A"))
			for range 5 {
				other := bus.Channel{Subject: "SRV.Peer.Q", Key: "Other.REQ"}
				_, err := b.dynpsrpc(t).Subscribe(t.Context(), other, bus.Queue, func([]byte) {})
				require.NoError(t, err)
			}
			c := from.client(t, b)
			const callers, each = 64, 5
			var failed atomic.Int64
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for range each {
						ctx, cancel := context.WithTimeout(t.Context(), lossTimeout)
						if _, err := c.call(ctx, "Queue", nil, "x"); err != nil {
							failed.Add(1)
						}
						cancel()
					}
				})
			}
			all.Wait()
			t.Logf("%d of %d failed", failed.Load(), callers*each)
			assert.Less(t, failed.Load(), int64(callers*each/5))
		})
	}
}
