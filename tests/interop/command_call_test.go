//go:build !psrpc_oldest

package interop

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The command line must call methods of every kind on psrpc servers, with a schema from a file.
// psrpc subscribers must receive what it publishes.
func TestCommand_CallsPsrpcServers(t *testing.T) {
	t.Parallel()
	command := buildCommand(t)
	for broker, start := range map[string]func(t *testing.T) (b broker, url string){"Redis": startRedis, "NATS": startMonitoredNATS} {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			b, url := start(t)
			psrpc := psrpcWith(features{})
			for server, affinity := range map[string]float32{"A": 0.25, "B": 0.75} {
				h := answers(server)
				h.affinity, h.room = affinity, server
				psrpc.server(t, b, h)
			}
			c := cli{command, url}
			assert.Contains(t, []string{`"A x"`, `"B x"`}, c.call(t, "Peer/Queue", `"x"`))
			assert.Equal(t, `"B x"`, c.call(t, "Peer/Best", `"x"`))
			assert.Equal(t, `"A x"`, c.call(t, "Peer/QueueIn", `"x"`, "-t", "A"))
			assert.ElementsMatch(t, []string{`"A x"`, `"B x"`}, strings.Split(c.call(t, "Peer/Every", `"x"`, "--expect", "2"), "\n"))
			assert.Equal(t, "\"x\"\n\"y\"", c.call(t, "Peer/Flow", `"x"`, `"y"`, "--expect", "2"))

			updates := psrpc.client(t, b).subscribe(t, "Feed", nil)
			_, exit := c.run(t, "publish", "Peer/Feed", `"news"`, "-p", "interop.proto")
			require.Equal(t, 0, exit)
			select {
			case update := <-updates:
				assert.Equal(t, "news", update)
			case <-time.After(callTimeout):
				t.Fatal("the psrpc subscriber has not received the update")
			}

			_, exit = c.run(t, "call", "Peer/Queue", `"x"`)
			assert.Equal(t, 1, exit, "psrpc servers do not tell their schema")
			_, exit = c.run(t, "call", "Peer/QueueIn", `"x"`, "-t", "C", "-p", "interop.proto")
			assert.Equal(t, 4, exit, "nobody listens to the topic")
		})
	}
}

// call runs the verb call with the schema of the test. It returns the lines that were printed.
func (c cli) call(t *testing.T, args ...string) string {
	t.Helper()
	stdout, exit := c.run(t, append([]string{"call", "-p", "interop.proto", "--timeout", callTimeout.String()}, args...)...)
	require.Equal(t, 0, exit)
	return strings.TrimSuffix(string(stdout), "\n")
}
