package conformance_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// localLink is a [link] to the in-process bus.
type localLink struct {
	testing.TB
	bus bus.Bus
}

func (l localLink) key(address) string { return "" }

func (l localLink) channel(a address) bus.Channel { return bus.Channel{Name: a.name} }

func (l localLink) publish(a address, payload []byte) {
	assert.NoError(l, l.bus.Publish(context.Background(), l.channel(a), payload, nil))
}

func (l localLink) listen(a address, queue bool, deliver func(frame)) (stop func()) {
	l.Helper()
	join := bus.Broadcast
	if queue {
		join = bus.Queue
	}
	subscription, err := l.bus.Subscribe(context.Background(), l.channel(a), join, func(payload []byte) {
		if f, err := parseFrame(a.name, payload); err == nil {
			deliver(f)
		}
	})
	require.NoError(l, err)
	return subscription.Close
}
