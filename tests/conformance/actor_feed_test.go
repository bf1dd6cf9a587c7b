package conformance_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// feed records the updates that the subscribers of a scenario receive.
type feed struct {
	*play

	lock     sync.Mutex
	received [][]string // list of updates, indexed by subscriber
}

// subscribers returns the number of subscribers in the recorded scenario.
func (f *feed) subscribers() int {
	if _, two := f.scenario.Outcome["B_received"]; two {
		return 2
	}
	return 1
}

func (f *feed) receive(subscriber int, update string) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.received[subscriber] = append(f.received[subscriber], update)
}

// want returns the updates that must be received. For a MULTI method, each subscriber must receive
// all of them. Otherwise, the subscribers share them.
func (f *feed) want() []string {
	if f.script.received != nil {
		return f.script.received
	}
	var all []string
	for _, name := range []string{"A_received", "B_received", "subscriber_received", "channel_1_received"} {
		switch received := f.scenario.Outcome[name].(type) {
		case string:
			all = append(all, received)
		case []any:
			for _, update := range received {
				all = append(all, fmt.Sprint(update))
			}
		}
		if f.scenario.Method.Type == "MULTI" {
			break
		}
	}
	slices.Sort(all)
	return all
}

// check requires that the subscribers have received the same updates as in the recorded scenario.
// For a MULTI method, each subscriber must have received all updates; otherwise, exactly one
// subscriber must have received each update.
func (f *feed) check() {
	want := f.want()
	got := func() (got [][]string) {
		f.lock.Lock()
		defer f.lock.Unlock()
		if f.scenario.Method.Type == "MULTI" {
			return slices.Clone(f.received)
		}
		all := slices.Concat(f.received...)
		slices.Sort(all)
		return [][]string{all}
	}
	complete := func() bool {
		return !slices.ContainsFunc(got(), func(received []string) bool { return len(received) < len(want) })
	}
	assert.Eventually(f, complete, patience, time.Millisecond)
	f.settle()
	for _, received := range got() {
		assert.Equal(f, want, received)
	}
}

// publisherActor is a dynpsrpc server that publishes the updates of a recorded scenario.
type publisherActor struct {
	*feed

	registration *dynamic.Registration
}

// newPublisherActor creates a dynpsrpc publisher. It also subscribes on behalf of the recorded
// clients.
func newPublisherActor(p *play) (actor, func()) {
	a := &publisherActor{feed: &feed{play: p}}
	a.received = make([][]string, a.subscribers())
	m := p.scenario.target(p.service)
	for i := range a.received {
		peer := p.broker.link(p.T)
		listen := func(m target) {
			peer.listen(m.requests(), p.scenario.Method.Type != "MULTI", func(f frame) { a.receive(i, textOf(body(f))) })
		}
		listen(m)
		if p.scenario.Name == twoMethods {
			listen(p.scenario.secondTarget(p.service))
		}
	}
	s := dynamic.NewServer(p.bus(), dynamic.AllowEmptyTopicParts(), dynamic.WithServerTimeout(patience))
	a.registration = p.register(s, nil)
	return a, func() {
		a.check()
		assert.NoError(p, s.Shutdown(context.Background()))
	}
}

func (a *publisherActor) provoke(r recorded, f frame) {
	method, topic := a.scenario.Method.Name, a.scenario.Method.Topics
	if a.scenario.Name == twoMethods && r.Seq == 2 {
		second := a.scenario.secondTarget("")
		method, topic = second.method, second.topic
	}
	var options []dynamic.RequestOption
	if len(topic) > 0 {
		options = append(options, dynamic.WithTopic(topic...))
	}
	require.NoError(a, a.registration.Publish(context.Background(), method, a.newBody(f), options...))
}

// subscriberActor runs dynpsrpc clients that subscribe to the updates of a recorded scenario.
type subscriberActor struct{ *feed }

func newSubscriberActor(p *play) (actor, func()) {
	a := &subscriberActor{&feed{play: p}}
	a.received = make([][]string, a.subscribers())
	var ends []func()
	for i := range a.received {
		conn, err := dynamic.NewConn(p.bus(), p.registry, dynamic.AllowEmptyTopicParts())
		require.NoError(p, err)
		ends = append(ends, func() { assert.NoError(p, conn.Close()) })
		a.subscribe(conn, i, p.scenario.target(p.service))
		if p.scenario.Name == twoMethods {
			a.subscribe(conn, i, p.scenario.secondTarget(p.service))
		}
	}
	return a, func() {
		a.check()
		for _, end := range ends {
			end()
		}
	}
}

func (a *subscriberActor) subscribe(conn *dynamic.Conn, i int, m target) {
	c, err := dynamic.NewClient[proto.Message, proto.Message](conn, "scenario.Recorded/"+m.method)
	require.NoError(a, err)
	if len(m.topic) > 0 {
		c = c.Topic(m.topic...)
	}
	subscription, err := c.Subscribe(context.Background())
	require.NoError(a, err)
	var running sync.WaitGroup
	running.Go(func() { // this goroutine ends when conn is closed
		for update := range subscription.Channel() {
			a.receive(i, bodyText(update))
		}
	})
	a.Cleanup(running.Wait)
}

func (a *subscriberActor) provoke(recorded, frame) {}
