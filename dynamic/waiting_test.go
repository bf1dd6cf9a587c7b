package dynamic_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// TestStats_Waiting checks that the statistics contain the number of messages and updates that have
// arrived but have not been read yet.
func TestStats_Waiting(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	w := newSeenWorld(t, with{handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(stream serverText) error {
		for range 3 {
			if err := stream.Send(say("answer")); err != nil {
				return err
			}
		}
		<-read
		for range stream.Channel() {
		}
		return nil
	})}})
	stream := w.openFlow(t)
	for range 2 {
		require.NoError(t, stream.Send(say("hi")))
	}
	assert.Equal(t, uint64(2), w.server.Stats().Waiting)
	require.Eventually(t, func() bool { return w.conn.Stats().Waiting == 3 }, 10*time.Second, time.Millisecond, "the handler sends meanwhile")
	<-stream.Channel()
	// While the conn moves a message from one buffer to the next, the message is briefly not
	// counted.
	require.Eventually(t, func() bool { return w.conn.Stats().Waiting == 2 }, 10*time.Second, time.Millisecond)
	close(read)
	require.Eventually(t, func() bool { return w.server.Stats().Waiting == 0 }, 10*time.Second, time.Millisecond, "the handler reads meanwhile")
	require.NoError(t, stream.Close(nil))

	subscription := w.subscribe(t)
	for range 2 {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say("hi")))
	}
	require.Eventually(t, func() bool { return subscription.Stats().Waiting == 2 }, 10*time.Second, time.Millisecond, "the bus delivers in the background")
	<-subscription.Channel()
	<-subscription.Channel()
	assert.Zero(t, subscription.Stats().Waiting)
}
