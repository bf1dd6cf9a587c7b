package dynamic_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// A reader that starts late receives exactly the messages whose Send has succeeded, followed by the
// messages that are sent later.
func TestStream_FailedSendIsNotDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handle, servers, _ := handing(t)
		w := newFlowWorld(t, bus.NewLocal(), handle)
		client := w.open(t, flow)
		server := <-servers
		acknowledged := 0
		for range dynamic.DefaultStreamBuffer + 10 {
			if client.Send(say("early"), dynamic.WithStreamTimeout(100*time.Millisecond)) == nil {
				acknowledged++
			}
		}
		assert.Equal(t, dynamic.DefaultStreamBuffer, acknowledged)
		synctest.Wait()
		for range acknowledged {
			assert.Equal(t, "early", (<-server.Channel()).GetValue())
		}
		require.NoError(t, client.Send(say("late")))
		assert.Equal(t, "late", (<-server.Channel()).GetValue())
		assert.EqualValues(t, 10, w.server.Stats().Expired)
		require.NoError(t, client.Close(nil))
	})
}
