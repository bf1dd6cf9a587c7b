package redisbus_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// Callers write some frames directly, and the goroutine of the pipeline writes the others. Frames
// of all sizes must arrive in order. Close must wait until Redis has confirmed all of them.
func TestBus_SendsAllFramesInOrder(t *testing.T) {
	t.Parallel()
	const frames = 3000
	server := testenv.Redis(t)
	channel := bus.Channel{Name: "c"}
	got := make(chan []byte, frames)
	_, err := connect(t, server).Subscribe(t.Context(), channel, bus.Broadcast, func(frame []byte) { got <- frame })
	require.NoError(t, err)

	sender := connect(t, server)
	published := make(report, frames)
	frame := func(i int) []byte {
		size := 8
		switch {
		case i%500 == 0:
			size = 1 << 20
		case i%7 == 0:
			size = 40 << 10
		}
		return binary.BigEndian.AppendUint64(bytes.Repeat([]byte{byte(i)}, size), uint64(i))
	}
	for i := range frames {
		require.NoError(t, sender.Publish(t.Context(), channel, frame(i), published))
	}
	require.NoError(t, sender.Close())
	for i := range frames {
		require.NoError(t, <-published)
		require.True(t, bytes.Equal(frame(i), <-got), "frame %d", i)
	}
}

// The bus must send PING on idle connections, because Redis or a proxy may close connections that
// are not used.
func TestBus_IdleConnectionsPing(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server, redisbus.WithProbeInterval(2*time.Second))
	queue := bus.Channel{Name: "queue"}
	requireArrives(t, b, queue, listen(t, b, queue, bus.Queue), "a frame that takes a lock")
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	require.Eventually(t, func() bool { // wait until Redis shows the new commands
		// The client list contains the last command of each connection.
		connections, err := client.ClientList(t.Context()).Result()
		require.NoError(t, err)
		// There are three connections: for pub/sub, for publishing and for locks.
		return strings.Count(connections, "cmd=ping") == 3 && !strings.Contains(connections, "cmd=set")
	}, waitTimeout, 10*time.Millisecond)
}

// On a slow link, the bus must send further batches before the replies to the earlier ones arrive.
// Otherwise, 64 large frames would take 32 round trips. The delay is long, so that a pause of the
// process is short in comparison.
func TestBus_LargeFramesOnASlowLink(t *testing.T) {
	t.Parallel()
	const frames, size, delay = 64, 256 << 10, 150 * time.Millisecond
	server := testenv.Redis(t)
	proxy := testenv.NewProxy(t, server.Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	defer client.Close()
	b, err := redisbus.New(client, patient...)
	require.NoError(t, err)
	defer b.Close()
	proxy.Delay(delay)
	published := make(report, frames)
	started := time.Now()
	for range frames {
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "c"}, make([]byte, size), published))
	}
	for range frames {
		require.NoError(t, <-published)
	}
	// The proxy forwards 7 MB/s, so the frames take at least 2.4 s.
	t.Logf("%d frames of %d KiB in %v", frames, size>>10, time.Since(started))
	require.Less(t, time.Since(started), frames/2*2*delay*3/4)
}

// On a slow link, the bus must send further lock attempts before the replies to the earlier ones
// arrive.
func TestBus_ManyLocksOnASlowLink(t *testing.T) {
	t.Parallel()
	const frames, delay = 2000, 300 * time.Millisecond
	server := testenv.Redis(t)
	proxy := testenv.NewProxy(t, server.Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	defer client.Close()
	b, err := redisbus.New(client, patient...)
	require.NoError(t, err)
	defer b.Close()
	queue := bus.Channel{Name: "queue"}
	got := make(chan struct{}, frames)
	_, err = b.Subscribe(t.Context(), queue, bus.Queue, func([]byte) { got <- struct{}{} })
	require.NoError(t, err)
	proxy.Delay(delay)
	sender, started := connect(t, server), time.Now()
	for i := range frames {
		require.NoError(t, sender.Publish(t.Context(), queue, fmt.Append(nil, i), nil))
	}
	for range frames {
		<-got
	}
	t.Logf("%d locks in %v", frames, time.Since(started))
	require.Less(t, time.Since(started), frames/128*2*delay)
}
