package redisbus_test

import (
	"bytes"
	"encoding/binary"
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
	b := connect(t, server, redisbus.WithProbeInterval(50*time.Millisecond))
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
