package natsbus_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// newRestrictedServer starts a NATS server with permissions and returns its URL.
func newRestrictedServer(t *testing.T, permissions server.Permissions) string {
	t.Helper()
	broker := testenv.NATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "user", Password: "secret", Permissions: &permissions}}
	})
	return "nats://user:secret@" + addr(broker.URL())
}

func TestBus_SubscribeDenied(t *testing.T) {
	t.Parallel()
	b := newBus(t, newRestrictedServer(t, server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "SRV.ok.>"}}}))
	var all sync.WaitGroup
	for i := range 40 { // subscribe concurrently, so that subscriptions share flushes
		all.Go(func() {
			name, join := "ok", bus.Mode(i/2%2)
			if i%2 == 0 {
				name = "denied"
			}
			channel := bus.Channel{Name: name, Subject: fmt.Sprintf("SRV.%s.%d", name, i)}
			s, err := b.Subscribe(t.Context(), channel, join, func([]byte) {})
			if name == "ok" {
				assert.NoError(t, err)
				s.Close()
				return
			}
			if assert.Error(t, err, i) {
				requireCode(t, errors.PermissionDenied, err)
				assert.ErrorContains(t, err, channel.Subject)
			}
		})
	}
	all.Wait()
	_, err := b.Subscribe(t.Context(), requests, bus.Queue, func([]byte) {})
	requireCode(t, errors.PermissionDenied, err)
	_, err = b.Subscribe(t.Context(), requests, bus.Queue, func([]byte) {})
	requireCode(t, errors.PermissionDenied, err)
}

func TestBus_PublishDenied(t *testing.T) {
	t.Parallel()
	events, handler := newEvents()
	permissions := server.Permissions{Publish: &server.SubjectPermission{Deny: []string{requests.Subject}}}
	b := newBus(t, newRestrictedServer(t, permissions), handler)
	denied, fine := newReports(), newReports()
	frames, _ := listen(t, b, results, bus.Broadcast)
	require.NoError(t, b.Publish(t.Context(), requests, nil, denied))
	require.NoError(t, b.Publish(t.Context(), results, nil, fine))
	failure := soon(t, denied, "report")
	requireCode(t, errors.PermissionDenied, failure.err)
	soon(t, frames, "frame on another subject")
	assert.Empty(t, fine)
	assert.EqualValues(t, 1, b.Stats().PublishErrors)
	event := events.next(t, bus.Dropped)
	assert.Equal(t, requests.Subject, event.Channel)
	requireCode(t, errors.PermissionDenied, event.Err)
}

// If the server denies the subscription to the inbox, the bus must still deliver frames. It is then
// unable to report that a frame had no receivers.
func TestBus_InboxDenied(t *testing.T) {
	t.Parallel()
	b := newBus(t, newRestrictedServer(t, server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}}}))
	frames, _ := listen(t, b, results, bus.Broadcast)
	nobody := newReports()
	require.NoError(t, b.Publish(t.Context(), requests, nil, nobody))
	require.NoError(t, b.Publish(t.Context(), results, nil, newReports()))
	soon(t, frames, "frame")
	assert.Empty(t, nobody)
}

// The server limits the number of subscriptions. A subscription that exceeds the limit must fail,
// whether it is opened alone or concurrently with others. All successful subscriptions must receive
// frames. After one has been closed, it must be possible to open another one.
func TestBus_TooManySubscriptions(t *testing.T) {
	t.Parallel()
	const limit = 20 // the subscription for the inbox counts too
	url := testenv.NATS(t, func(o *server.Options) { o.MaxSubs = limit }).URL()
	events, handler := newEvents()
	b, sender := newBus(t, url, handler), newBus(t, url)
	var mu sync.Mutex
	subscribed := map[bus.Channel]bus.Subscription{}
	received := make(chan string, 1000)
	subscribe := func(i int) {
		channel := bus.Channel{Subject: fmt.Sprint("SRV.Svc.topic", i)}
		s, err := b.Subscribe(t.Context(), channel, bus.Queue, func([]byte) { received <- channel.Subject })
		if err != nil {
			requireCode(t, errors.ResourceExhausted, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		subscribed[channel] = s
	}
	reachable := func() {
		for channel := range subscribed {
			publish(t, sender, channel, nil)
			assert.Equal(t, channel.Subject, soon(t, received, "frame on "+channel.Subject))
		}
	}
	for i := range 10 {
		subscribe(i)
	}
	require.Len(t, subscribed, 10)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { subscribe(10 + i) })
	}
	all.Wait()
	for i := range 20 {
		subscribe(100 + i)
	}
	assert.Len(t, subscribed, limit-1, "the last ones are made alone, so each of them that fits succeeds")
	reachable()
	requireCode(t, errors.ResourceExhausted, events.next(t, bus.Dropped).Err)
	assert.Empty(t, events, "the events are limited")

	for channel, s := range subscribed {
		s.Close()
		delete(subscribed, channel)
		break
	}
	subscribe(200)
	assert.Len(t, subscribed, limit-1)
	reachable()
}
