//go:build chaos && unix

package long_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

// TestStreams_TenThousand opens 10,000 streams to one server that has the default limits. It sends
// one message on each stream and waits for the response. The race detector does not support that
// many goroutines.
func TestStreams_TenThousand(t *testing.T) {
	const streams, openers = 10_000, 50
	none := dynamic.ConnOptions()
	w := kinds.New(t, dynamic.ServiceOptions(), none)
	start := time.Now()
	var opening sync.WaitGroup
	for range openers {
		opening.Go(func() {
			for range streams / openers {
				stream := w.Open(t.Context(), t)
				if !assert.NoError(t, stream.Send(&kinds.Text{Value: "hi"})) {
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
