package conformance_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// sides returns the two sides of a scenario.
func (s *scenario) sides() [2]side {
	if s.Method.Subscription {
		return [2]side{publisher, subscriber}
	}
	return [2]side{client, server}
}

// tally counts how many sides of scenarios were played, left out, or played with deviations from
// psrpc.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// This test replays each recorded psrpc scenario twice. Each time, dynpsrpc acts as one of the two
// sides, and must send the same frames as the recorded psrpc peer.
func TestConformance(t *testing.T) {
	t.Parallel()
	redisServer, natsServer, local := newRedisBroker(t), newNATSBroker(t), newObserver()
	stages := map[string]*stage{
		"redis": {"redis", observeRedis(t, redisServer.addr), redisServer},
		"nats":  {"nats", observeNATS(t, natsServer.url), natsServer},
		"local": {"local", local, localBroker{observedBus{bus.NewLocal(), local}}},
	}
	counts := &tally{counts: map[string]int{}}
	t.Run("play", func(t *testing.T) {
		for _, s := range scenarios(t) {
			sides := s.sides()
			for _, ours := range sides {
				playRecorded(t, stages, s, ours, counts)
			}
			assert.False(t, scriptOf(s, sides[0]).leftOut != "" && scriptOf(s, sides[1]).leftOut != "",
				"neither side of %s is played", s.Name)
		}
	})
	t.Logf("sides of scenarios, as ours: %v", counts.counts)
	assert.Equal(t, 2*len(scenarios(t)), counts.counts["played"]+counts.counts["deviating"]+counts.counts["left out"])
}

// playRecorded plays one side of a scenario on the bus on which it was recorded. A scenario
// recorded only on Redis is also played on NATS, because both buses carry the same frames.
func playRecorded(t *testing.T, stages map[string]*stage, s *scenario, ours side, counts *tally) {
	script := scriptOf(s, ours)
	switch {
	case script.leftOut != "":
		counts.add("left out")
		return
	case script.deviates != "":
		counts.add("deviating")
	default:
		counts.add("played")
	}
	places := []string{s.Bus}
	if s.Bus == "redis" && !script.redisOnly && !isRecorded(t, s.Name, "nats") {
		places = append(places, "nats")
	}
	for _, place := range places {
		counts.add(fmt.Sprintf("%s on %s", ours, place))
		t.Run(fmt.Sprintf("%s/%s/%s", s.Name, ours, place), func(t *testing.T) {
			t.Parallel()
			perform(t, stages[place], s, ours, script)
		})
	}
}

func isRecorded(t testing.TB, name, place string) bool {
	return slices.ContainsFunc(scenarios(t), func(s *scenario) bool { return s.Name == name && s.Bus == place })
}

// Every script must belong to a recorded scenario and to one of its sides.
func TestScripts_HaveScenarios(t *testing.T) {
	t.Parallel()
	for name, script := range scripts {
		i := slices.IndexFunc(scenarios(t), func(s *scenario) bool { return s.Name == name })
		require.GreaterOrEqual(t, i, 0, name)
		for ours := range script {
			assert.Contains(t, scenarios(t)[i].sides(), ours, name)
		}
	}
}

// localBroker is the in-process bus. Both sides of a scenario use the same bus.
type localBroker struct{ shared observedBus }

func (b localBroker) alone() (broker, int) { return b, 0 }

func (b localBroker) link(t testing.TB) link {
	return localLink{t, b.shared}
}

func (b localBroker) bus(testing.TB) bus.Bus { return b.shared }
