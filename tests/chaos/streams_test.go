//go:build chaos && unix

package chaos_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/tests/allkinds"
)

// TestStreams_TenThousand opens 10,000 streams on one server with the default limits, from clients
// with keepalive, and sends a message over each of them and back. It does not run under the race
// detector, which allows fewer goroutines.
func TestStreams_TenThousand(t *testing.T) {
	const streams, openers = 10_000, 50
	none := dynamic.ConnOptions()
	w := allkinds.New(t, dynamic.ServiceOptions(), none)
	start := time.Now()
	var opening sync.WaitGroup
	for range openers {
		opening.Go(func() {
			for range streams / openers {
				stream := w.Open(t.Context(), t)
				if !assert.NoError(t, stream.Send(&allkinds.Text{Value: "hi"})) {
					return
				}
				assert.Equal(t, "hi", (<-stream.Channel()).GetValue())
			}
		})
	}
	opening.Wait()
	t.Logf("%d streams opened and used in %v", streams, time.Since(start).Round(time.Millisecond))
	require.Zero(t, w.Server.Stats().Refused)
}
