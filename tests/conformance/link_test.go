package conformance_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// link is the reference peer's connection to a broker. It is closed when the test ends.
type link interface {
	// publish sends an encoded envelope. If the broker needs a routing key, the envelope must
	// already contain it.
	publish(a address, payload []byte)
	// listen subscribes to an address and passes the frames to deliver, one at a time, until stop
	// is called. When listen returns, the broker has confirmed the subscription. If queue is true,
	// each frame is delivered to only one of the subscribers to the address.
	listen(a address, queue bool, deliver func(frame)) (stop func())
	// key returns the routing key that an envelope needs when it is published to the address.
	key(a address) string
}

// send publishes a message of the reference peer.
func send(l link, a address, typeName string, inner message) {
	l.publish(a, pack(typeName, inner, l.key(a)))
}

// redisLink is a [link] to Redis.
type redisLink struct {
	testing.TB
	client redis.UniversalClient
}

func newRedisLink(t testing.TB, addr string, database int) *redisLink {
	t.Helper()
	// Disable retries: a publication that is repeated after a timeout would arrive twice.
	client := redis.NewClient(&redis.Options{Addr: addr, DB: database, ReadTimeout: patience, MaxRetries: -1})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return &redisLink{t, client}
}

func (l *redisLink) key(address) string { return "" }

func (l *redisLink) publish(a address, payload []byte) {
	assert.NoError(l, l.client.Publish(context.Background(), a.name, payload).Err())
}

func (l *redisLink) listen(a address, queue bool, deliver func(frame)) (stop func()) {
	l.Helper()
	ctx := context.Background()
	subscription := l.client.Subscribe(ctx, a.name)
	_, err := subscription.Receive(ctx)
	require.NoError(l, err)
	var running sync.WaitGroup
	running.Go(func() { // stop waits for this goroutine
		for m := range subscription.Channel(redis.WithChannelSize(10_000), redis.WithChannelHealthCheckInterval(time.Hour)) {
			if queue && !l.lock(m.Payload) {
				continue
			}
			if f, err := parseFrame(m.Channel, []byte(m.Payload)); err == nil {
				deliver(f)
			}
		}
	})
	stop = sync.OnceFunc(func() {
		assert.NoError(l, subscription.Close())
		running.Wait()
	})
	l.Cleanup(stop)
	return stop
}

// lock tries to lock a frame of a queue. It reports whether this subscriber may handle the frame.
func (l *redisLink) lock(payload string) bool {
	set := l.client.SetArgs(context.Background(), lockKey(payload), rand.Int64(), redis.SetArgs{Mode: "NX", TTL: 5 * time.Second})
	return set.Err() == nil
}

// lockKey returns the key of a frame's lock. The key depends only on the bytes of the frame.
func lockKey(payload string) string {
	sum := sha256.Sum256([]byte(payload))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// natsLink is a [link] to NATS. Like psrpc, it uses only one subscription for each subject. The
// routing key in an envelope selects the method for which a frame is meant.
type natsLink struct {
	testing.TB
	conn *nats.Conn

	mu       sync.Mutex
	subjects map[string]*natsSubject
}

type natsSubject struct {
	subscription *nats.Subscription
	routes       []natsRoute
	delivering   sync.Mutex // held while frames are being delivered
}

type natsRoute struct {
	key     string
	deliver *func(frame)
}

func newNATSLink(t testing.TB, url string) *natsLink {
	t.Helper()
	conn, err := nats.Connect(url, nats.Timeout(patience))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return &natsLink{TB: t, conn: conn, subjects: map[string]*natsSubject{}}
}

func (l *natsLink) key(a address) string { return a.key }

func (l *natsLink) publish(a address, payload []byte) {
	assert.NoError(l, l.conn.Publish(a.subject, payload))
}

func (l *natsLink) listen(a address, queue bool, deliver func(frame)) (stop func()) {
	l.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.subjects[a.subject]
	if s == nil {
		s = &natsSubject{}
		l.subjects[a.subject] = s
		group := ""
		if queue {
			group = "bus"
		}
		var err error
		s.subscription, err = l.conn.QueueSubscribe(a.subject, group, func(m *nats.Msg) { l.deliver(s, m) })
		require.NoError(l, err)
		require.NoError(l, l.conn.Flush())
	}
	route := natsRoute{a.key, &deliver}
	s.routes = append(s.routes, route)
	return sync.OnceFunc(func() { l.leave(a.subject, route) })
}

func (l *natsLink) deliver(s *natsSubject, m *nats.Msg) {
	f, err := parseFrame(m.Subject, m.Data)
	if err != nil {
		return
	}
	s.delivering.Lock()
	defer s.delivering.Unlock()
	l.mu.Lock()
	routes := slices.Clone(s.routes)
	l.mu.Unlock()
	for _, route := range routes {
		if route.key == f.key || strings.HasPrefix(m.Subject, "CLI.") {
			(*route.deliver)(f)
		}
	}
}

func (l *natsLink) leave(subject string, route natsRoute) {
	l.mu.Lock()
	s := l.subjects[subject]
	s.routes = slices.DeleteFunc(s.routes, func(r natsRoute) bool { return r == route })
	if len(s.routes) == 0 {
		delete(l.subjects, subject)
		assert.NoError(l, s.subscription.Unsubscribe())
		assert.NoError(l, l.conn.Flush())
	}
	l.mu.Unlock()
	s.delivering.Lock() // wait until the running delivery has ended
	defer s.delivering.Unlock()
}
