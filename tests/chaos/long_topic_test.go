package chaos_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// An error message must contain at most the beginning of a long topic, because clients may choose
// the topics.
func TestErrors_LongTopics(t *testing.T) {
	t.Parallel()
	testkit.OnEachWithLimit(t, 256<<10, func(t *testing.T, network testkit.Network) {
		long := strings.Repeat("x", 100_000)
		if network.Name == testkit.NATSName {
			long = long[:3000] // on NATS, longer subjects are rejected
		}
		_, registration := testkit.Serve(t, network.Connect(t), dynamic.Handlers{"UpdateRoom": dynamic.Unary(testkit.Echo)})
		require.NoError(t, registration.RegisterTopic("UpdateRoom", "eu", long))
		conn := testkit.Conn(t, network.Connect(t))
		client := testkit.Caller(t, conn, "UpdateRoom")
		request := &api.MyRequest{Name: "x"}
		timeout := dynamic.WithRequestTimeout(200 * time.Millisecond)
		_, nobody := client.Topic("us", long).Call(t.Context(), request, timeout)
		_, parts := client.Topic(long).Call(t.Context(), request, timeout)
		_, noTopics := testkit.Caller(t, conn, "NormalRPC").Topic(long).Call(t.Context(), request, timeout)
		_, empty := client.Topic("", long).Call(t.Context(), request, timeout)
		_, tooLarge := client.Topic("eu", long).Call(t.Context(), &api.MyRequest{Name: strings.Repeat("x", 300<<10)}, timeout)
		for name, err := range map[string]error{
			"nobody listens":   nobody,
			"number of parts":  parts,
			"no topics":        noTopics,
			"empty part":       empty,
			"too large":        tooLarge,
			"registered twice": registration.RegisterTopic("UpdateRoom", "eu", long),
			"not registered":   registration.DeregisterTopic("UpdateRoom", "us", long),
			"no such group":    registration.RegisterTopicGroup(long, "eu"),
		} {
			if assert.Error(t, err, name) {
				assert.Less(t, len(err.Error()), 1000, name)
			}
		}
	})
}
