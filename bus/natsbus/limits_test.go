package natsbus_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func TestBus_FrameTooLarge(t *testing.T) {
	t.Parallel()
	const limit = 4096
	url := testenv.NATS(t, func(o *server.Options) { o.MaxPayload = limit }).URL()
	b := newBus(t, url)
	frames, _ := listen(t, b, requests, bus.Broadcast)
	keySize := len(wire.AppendRoutingKey(nil, requests.Key))

	largest := make([]byte, 0, limit)
	largest = append(largest, envelope(t, string(make([]byte, limit-keySize-100)), "")...)
	largest = append(largest, pad(limit-keySize-len(largest))...)
	publish(t, b, requests, largest)
	assert.Len(t, soon(t, frames, "largest frame"), limit)

	for _, report := range []bus.DeliveryReport{nil, newReports()} {
		err := b.Publish(t.Context(), requests, append(pad(3), largest...), report)
		require.ErrorIs(t, err, bus.ErrFrameTooLarge)
		requireCode(t, errors.ResourceExhausted, err)
		require.ErrorContains(t, err, "4099 bytes on channel Svc|Method|REQ, the limit of the nats server is 4096")
	}
	publish(t, b, requests, nil)
	soon(t, frames, "frame after that")
}

// pad returns encoded protobuf fields that are unknown in an envelope. Their total size is size
// bytes.
func pad(size int) []byte {
	field := make([]byte, 0, size)
	for ; size > 3; size -= 2 {
		field = append(field, 15<<3, 0)
	}
	if size == 3 {
		field = append(field, 15<<3, 0x80, 0)
	} else {
		field = append(field, 15<<3, 0)
	}
	return field
}

// A process that handles frames too slowly loses some of them. The bus must report the loss.
func TestBus_SlowProcess(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	events, handler := newEvents()
	b := newBus(t, url, handler, natsbus.WithPendingLimit(10), natsbus.WithProbeInterval(2*time.Second))
	sender := newBus(t, url)
	busy, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var delivered atomic.Int64
	_, err := b.Subscribe(t.Context(), requests, bus.Broadcast, func([]byte) {
		once.Do(func() {
			close(busy)
			<-proceed
		})
		delivered.Add(1)
	})
	require.NoError(t, err)
	publish(t, sender, requests, nil)
	soon(t, busy, "first frame")
	const more = 100
	for range more {
		publish(t, sender, requests, nil)
	}
	dropped := events.next(t, bus.Dropped)
	assert.Equal(t, requests.Subject, dropped.Channel)
	assert.Positive(t, dropped.Frames)
	requireCode(t, errors.ResourceExhausted, dropped.Err)
	close(proceed)
	assert.Eventually(t, func() bool { return delivered.Load()+int64(b.Stats().Dropped) == 1+more },
		testTimeout, testTimeout/1000, "each frame is delivered or counted; the counter is read at every probe")
	assert.GreaterOrEqual(t, delivered.Load(), int64(10))
}

// Many subscriptions are opened concurrently. Each of them must receive frames as soon as Subscribe
// has returned.
func TestBus_TenThousandSubscriptions(t *testing.T) {
	t.Parallel()
	const topics, workers = 10_000, 50
	url := testenv.NATSProcess(t).URL()
	b, sender := newBus(t, url), newBus(t, url)
	var received sync.WaitGroup
	received.Add(topics)
	subscriptions := make([]bus.Subscription, topics)
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < topics; i += workers {
				channel := bus.Channel{Subject: fmt.Sprint("SRV.Svc.topic", i), Key: "Method.REQ"}
				s, err := b.Subscribe(t.Context(), channel, bus.Queue, func([]byte) { received.Done() })
				if !assert.NoError(t, err) {
					return
				}
				subscriptions[i] = s
				assert.NoError(t, sender.Publish(t.Context(), channel, nil, nil))
			}
		})
	}
	all.Wait()
	arrived := make(chan struct{})
	go func() { // this goroutine ends after the last frame
		received.Wait()
		close(arrived)
	}()
	soon(t, arrived, "all frames")
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < topics; i += workers {
				subscriptions[i].Close()
			}
		})
	}
	all.Wait()
	nobody := newReports()
	for i := range 100 {
		channel := bus.Channel{Subject: fmt.Sprint("SRV.Svc.topic", i*topics/100), Key: "Method.REQ"}
		require.NoError(t, sender.Publish(t.Context(), channel, nil, nobody))
		assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
	}
}
