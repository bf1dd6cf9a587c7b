package fanout_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

func TestRenewals_RunCallsOpenSubscribersOnly(t *testing.T) {
	t.Parallel()
	var renewals fanout.Renewals
	renewals.Run()
	called := map[string]int{}
	subscribers := map[string]*fanout.Subscriber{}
	for _, name := range []string{"open", "removed", "closed"} {
		subscribers[name] = fanout.NewSubscriber(false, nil)
		renewals.Set(subscribers[name], func() { called[name]++ })
	}
	renewals.Run()
	assert.Equal(t, map[string]int{"open": 1, "removed": 1, "closed": 1}, called)
	renewals.Remove(subscribers["removed"])
	renewals.Remove(subscribers["removed"])
	subscribers["closed"].Close()
	renewals.Run()
	assert.Equal(t, map[string]int{"open": 2, "removed": 1, "closed": 1}, called)
}

// Close must wait for a running function, so that no function runs after Close has returned.
func TestRenewals_CloseWaitsForARunningFunction(t *testing.T) {
	t.Parallel()
	var renewals fanout.Renewals
	subscriber := fanout.NewSubscriber(false, nil)
	entered, release, ran := make(chan struct{}), make(chan struct{}), make(chan struct{})
	returned := false
	renewals.Set(subscriber, func() {
		close(entered)
		<-release
		returned = true
	})
	go func() {
		defer close(ran)
		renewals.Run()
	}()
	<-entered
	go close(release)
	subscriber.Close()
	assert.True(t, returned)
	<-ran
}
