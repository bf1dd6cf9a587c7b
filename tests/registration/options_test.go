package registration

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// facts contains all properties of a method that depend on its options.
type facts struct {
	kind         registry.Kind
	routing      registry.Routing
	topics       bool
	params       []string
	parts        int
	group        string
	single       bool
	requireClaim bool
	queue        bool
}

func factsOf(m *registry.Method) facts {
	return facts{
		kind: m.Kind(), routing: m.Routing(),
		topics: m.Topics(), params: m.TopicParams(), parts: m.TopicParts(), group: m.Group(),
		single: m.SingleServer(), requireClaim: m.RequireClaim(), queue: m.Queue(),
	}
}

const (
	single       = registry.KindSingle
	multi        = registry.KindMulti
	stream       = registry.KindStream
	subscription = registry.KindSubscription

	toQueue    = registry.RoutingQueue
	toAffinity = registry.RoutingAffinity
	toAll      = registry.RoutingMulti
)

// These are the properties of methods without topics for the three kinds of routing. Most rows of
// the table use them.
var (
	queued   = facts{kind: single, routing: toQueue, requireClaim: true, queue: true}
	affinity = facts{kind: single, routing: toAffinity, requireClaim: true}
	all      = facts{kind: multi, routing: toAll}
)

var optionTable = []struct {
	options string
	want    facts
}{
	// These rows use the field type.
	{``, queued},
	{`type: QUEUE`, queued},
	{`type: AFFINITY`, affinity},
	{`type: MULTI`, all},
	{`subscription: false topics: false stream: false`, queued},

	// These rows use the deprecated oneof. It has an effect if one of its fields is present, even
	// if the value of the field is false.
	{`queue: true`, queued},
	{`queue: false`, queued},
	{`affinity_func: true`, affinity},
	{`affinity_func: false`, affinity},
	{`multi: true`, all},
	{`multi: false`, all},

	// The deprecated oneof takes precedence over the field type.
	{`type: MULTI queue: true`, queued},
	{`type: MULTI queue: false`, queued},
	{`type: MULTI affinity_func: true`, affinity},
	{`type: AFFINITY multi: true`, all},
	{`type: AFFINITY multi: false`, all},
	{`type: AFFINITY queue: true`, queued},
	{`type: QUEUE multi: true`, all},
	{`type: QUEUE affinity_func: false`, affinity},

	// Streams and subscriptions can have each kind of routing.
	{`stream: true`, facts{kind: stream, routing: toQueue, requireClaim: true, queue: true}},
	{`stream: true type: AFFINITY`, facts{kind: stream, routing: toAffinity, requireClaim: true}},
	{`stream: true type: MULTI`, facts{kind: stream, routing: toAll}},
	{`stream: true multi: false`, facts{kind: stream, routing: toAll}},
	{`subscription: true`, facts{kind: subscription, routing: toQueue, requireClaim: true, queue: true}},
	{`subscription: true type: AFFINITY`, facts{kind: subscription, routing: toAffinity, requireClaim: true}},
	{`subscription: true type: MULTI`, facts{kind: subscription, routing: toAll}},
	{`subscription: true multi: true`, facts{kind: subscription, routing: toAll}},
	{`subscription: true stream: false`, facts{kind: subscription, routing: toQueue, requireClaim: true, queue: true}},

	// These rows use topics without parameters.
	{`topics: true`, facts{kind: single, routing: toQueue, topics: true, parts: 1, requireClaim: true, queue: true}},
	{`topics: true type: AFFINITY`, facts{kind: single, routing: toAffinity, topics: true, parts: 1, requireClaim: true}},
	{`topics: true type: MULTI`, facts{kind: multi, routing: toAll, topics: true, parts: 1}},
	{`topics: true multi: false`, facts{kind: multi, routing: toAll, topics: true, parts: 1}},
	{`topics: true stream: true`, facts{kind: stream, routing: toQueue, topics: true, parts: 1, requireClaim: true, queue: true}},
	{`topics: true subscription: true type: MULTI`, facts{kind: subscription, routing: toAll, topics: true, parts: 1}},

	// These rows use topic parameters.
	{`topics: true topic_params {}`, facts{kind: single, routing: toQueue, topics: true, parts: 1, requireClaim: true, queue: true}},
	{
		`topics: true topic_params { names: "a" }`,
		facts{kind: single, routing: toQueue, topics: true, params: []string{"a"}, parts: 1, requireClaim: true, queue: true},
	},
	{
		`topics: true topic_params { names: ["b", "a", "c"] }`,
		facts{kind: single, routing: toQueue, topics: true, params: []string{"b", "a", "c"}, parts: 3, requireClaim: true, queue: true},
	},
	{
		`topics: true type: MULTI topic_params { group: "g" names: "a" names: "b" typed: true }`,
		facts{kind: multi, routing: toAll, topics: true, params: []string{"a", "b"}, parts: 2, group: "g"},
	},
	{
		`topics: true stream: true topic_params { group: "g" }`,
		facts{kind: stream, routing: toQueue, topics: true, parts: 1, group: "g", requireClaim: true, queue: true},
	},
	{
		`topics: true subscription: true topic_params { names: ["a", "b"] }`,
		facts{kind: subscription, routing: toQueue, topics: true, params: []string{"a", "b"}, parts: 2, requireClaim: true, queue: true},
	},

	// If single_server is set, requests need no claim. The routing does not change.
	{
		`topics: true topic_params { single_server: true }`,
		facts{kind: single, routing: toQueue, topics: true, parts: 1, single: true, queue: true},
	},
	{
		`topics: true stream: true topic_params { names: "a" single_server: true }`,
		facts{kind: stream, routing: toQueue, topics: true, params: []string{"a"}, parts: 1, single: true, queue: true},
	},
	{
		`topics: true type: AFFINITY topic_params { single_server: true }`,
		facts{kind: single, routing: toAffinity, topics: true, parts: 1, single: true},
	},
	{
		`topics: true type: MULTI topic_params { single_server: true }`,
		facts{kind: multi, routing: toAll, topics: true, parts: 1, single: true},
	},
	{
		`topics: true topic_params { single_server: false }`,
		facts{kind: single, routing: toQueue, topics: true, parts: 1, requireClaim: true, queue: true},
	},

	// Without topics, only the topic parameter single_server has an effect.
	{`topic_params { single_server: true }`, facts{kind: single, routing: toQueue, single: true, queue: true}},
	{`type: AFFINITY topic_params { single_server: true }`, facts{kind: single, routing: toAffinity, single: true}},
	{`stream: true topic_params { single_server: true }`, facts{kind: stream, routing: toQueue, single: true, queue: true}},
	{`topic_params { group: "g" names: "a" typed: true }`, queued},
	{`topics: false topic_params { names: ["a", "b"] }`, queued},
}

func TestMethod_OptionTable(t *testing.T) {
	t.Parallel()
	for name, origin := range origins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, row := range optionTable {
				assert.Equal(t, row.want, factsOf(origin(t, row.options)), row.options)
			}
		})
	}
}
