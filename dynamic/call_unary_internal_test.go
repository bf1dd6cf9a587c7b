package dynamic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// TestUnaryCall_LateTimer checks a call that waits for a server to confirm the request and whose
// timer expires late. The call must then wait once more, but never longer than its timeout.
func TestUnaryCall_LateTimer(t *testing.T) {
	t.Parallel()
	conn, err := NewConn(bus.NewLocal(), registry.New())
	assert.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	for name, test := range map[string]struct {
		elapsed, timeout time.Duration
		want             time.Duration // the earliest new signDeadline that is allowed
	}{
		"late":                     {1500 * time.Millisecond, time.Minute, 2450 * time.Millisecond},
		"late, close to the end":   {1500 * time.Millisecond, 2 * time.Second, 2 * time.Second},
		"very late, still in time": {50 * time.Second, time.Minute, 50950 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := unaryCall{
				plan: &clientPlan{conn: conn}, inbox: conn.inboxes.get(conn.newRequestID()), started: time.Now().Add(-test.elapsed),
				timeout: test.timeout, awaitsSign: true, signDeadline: time.Second,
			}
			_, isFinal, err := c.onTimeout()
			c.inbox.timer.stop()
			assert.NoError(t, err)
			assert.False(t, isFinal)
			assert.GreaterOrEqual(t, c.signDeadline, test.want)
			assert.LessOrEqual(t, c.signDeadline, test.timeout)
		})
	}
}
