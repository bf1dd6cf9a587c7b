package interop

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// All kinds of calls must work between clients and servers of both libraries, on Redis and on NATS.
func TestPeers_EveryKind(t *testing.T) {
	t.Parallel()
	for name, newBroker := range map[string]func(*testing.T) broker{"Redis": redisBroker, "NATS": natsBroker} {
		for _, sides := range [][2]library{{ours, theirs}, {theirs, ours}, {ours, ours}, {theirs, theirs}} {
			t.Run(fmt.Sprintf("%s/%s calls %s", name, sides[0].name, sides[1].name), func(t *testing.T) {
				t.Parallel()
				testKinds(t, newBroker(t), sides[0], sides[1])
			})
		}
	}
}

func testKinds(t *testing.T, b broker, from, to library) {
	t.Helper()
	echo := func(name string) work { return func(request string) string { return name + " " + request } }
	first := to.server(t, b, 0.2, echo("A"))
	c := from.client(t, b)
	for i := range 20 {
		request := strconv.Itoa(i)
		for method, topic := range map[string][]string{"Queue": nil, "Only": {room}} {
			response, err := c.call(method, topic, request)
			require.NoError(t, err, method)
			assert.Equal(t, "A "+request, response, method)
		}
	}
	assert.Equal(t, []string{"A 1", "A 2", "A 3"}, c.flow(t, []string{"1", "2", "3"}))
	updates := c.feed(t)
	for i := range 20 {
		first.publish(t, strconv.Itoa(i))
		select {
		case update := <-updates:
			assert.Equal(t, strconv.Itoa(i), update)
		case <-time.After(patience):
			require.FailNow(t, "no update")
		}
	}
	to.server(t, b, 0.8, echo("B")) // from now on, there are two servers
	response, err := c.call("Best", nil, "x")
	require.NoError(t, err)
	assert.Equal(t, "B x", response)
	assert.ElementsMatch(t, []string{"A y", "B y"}, c.every(t, "y"))
}
