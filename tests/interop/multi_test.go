package interop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Two of five servers use psrpc. The first multi call of a dynpsrpc client may last until its
// timeout, but later ones end when the last server has answered. The same holds after a psrpc
// server has left.
func TestMultiCall_EndsWithTheLastAnswer(t *testing.T) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			broker := b.start(t)
			for range 3 {
				ours.server(t, broker, answers("ours"))
			}
			theirs.server(t, broker, answers("theirs"))
			leaving := theirs.server(t, broker, answers("theirs"))
			conn, err := dynamic.NewConn(broker.dynpsrpc(t), newRegistry(t))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, conn.Close()) })
			every, err := dynamic.NewClient[text, text](conn, serviceName+"/Every")
			require.NoError(t, err)
			call := func(number, servers int) {
				timeout := callTimeout
				if number == 0 {
					timeout = 4 * time.Second // the call may last so long
				}
				started, responses := time.Now(), 0
				for response := range every.Responses(t.Context(), wrapperspb.String("x"), dynamic.WithRequestTimeout(timeout)) {
					require.NoError(t, response.Err)
					responses++
				}
				took := time.Since(started)
				t.Logf("call %d to %d servers: %v", number, servers, took.Round(time.Millisecond))
				assert.Equal(t, servers, responses)
				if number > 0 {
					assert.Less(t, took, timeout/2)
				}
			}
			for number := range 4 {
				call(number, 5)
			}
			leaving.shutdown(t)
			_, settle := broker.psrpc(t, features{})
			settle()
			for number := range 4 {
				call(number, 4)
			}
		})
	}
}
