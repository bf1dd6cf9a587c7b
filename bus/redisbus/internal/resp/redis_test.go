package resp_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// dial connects to a Redis server.
func dial(t *testing.T, server *testenv.RedisServer) *resp.Conn {
	t.Helper()
	network, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(t.Context(), "tcp", server.Addr())
	require.NoError(t, err)
	c := resp.NewConn(network, network.Close)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, c *resp.Conn, args ...string) {
	t.Helper()
	resp.WriteCommand(c.Writer, args...)
	require.NoError(t, c.Writer.Flush())
}

// A real server must reply to each command of the bus with a value that ReadReply can read.
func TestRedis_Replies(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := dial(t, server)
	subscriber := dial(t, server)
	send(t, subscriber, "subscribe", "c")
	_, err := resp.ReadPush(subscriber.Reader, nil)
	require.NoError(t, err)
	for _, tt := range []struct {
		command string
		reply   int64
		err     error
	}{
		{"ping", 0, nil},
		{"publish c frame", 1, nil},
		{"publish nobody frame", 0, nil},
		{"pubsub numsub c", 1, nil},
		{"pubsub numsub nobody", 0, nil},
		{"set lock 0 ex 5 nx", 0, nil},
		{"set lock 0 ex 5 nx", 0, redis.Nil},
		{"ping", 0, nil},
	} {
		send(t, c, strings.Fields(tt.command)...)
		reply, err := resp.ReadReply(c.Reader)
		require.Equal(t, tt.err, err, tt.command)
		assert.Equal(t, tt.reply, reply, tt.command)
	}
	send(t, c, "nosuchcommand")
	_, err = resp.ReadReply(c.Reader)
	assert.True(t, resp.HasCode(err, "ERR"), "%v", err)
	send(t, c, "incr", "counter")
	reply, err := resp.ReadReply(c.Reader)
	require.NoError(t, err)
	assert.EqualValues(t, 1, reply, "after an error reply")
}

// A real server must send pushes that ReadPush can read, with and without sharded pub/sub. Frames
// of any size and content must arrive unchanged.
func TestRedis_Pushes(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	publisher := dial(t, server)
	for prefix, message := range map[string]string{"": "message", "s": "smessage"} {
		c := dial(t, server)
		var names [16]byte
		requireNext := func(kind, channel, frame string) {
			t.Helper()
			got, err := resp.ReadPush(c.Reader, names[:])
			require.NoError(t, err)
			requirePush(t, resp.Push{Kind: kind, Channel: []byte(channel), Message: []byte(frame)}, got)
		}
		send(t, c, "ping")
		requireNext(resp.Pong, "", "")
		send(t, c, prefix+"subscribe", "channel")
		requireNext(prefix+"subscribe", "channel", "")
		send(t, c, "ping")
		requireNext(resp.Pong, "", "")
		for _, frame := range []string{"", "\r\n", "frame", strings.Repeat("\x00*3\r\n", 1<<18)} {
			send(t, publisher, prefix+"publish", "channel", frame)
			receivers, err := resp.ReadReply(publisher.Reader)
			require.NoError(t, err)
			require.EqualValues(t, 1, receivers)
			requireNext(message, "channel", frame)
		}
		send(t, c, prefix+"unsubscribe", "channel")
		requireNext(prefix+"unsubscribe", "channel", "")
	}
}

// When the server is killed, a reader must get an error that is not an error reply.
func TestRedis_Killed(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := dial(t, server)
	send(t, c, "subscribe", "c")
	_, err := resp.ReadPush(c.Reader, nil)
	require.NoError(t, err)
	server.Kill()
	_, err = resp.ReadPush(c.Reader, nil)
	require.Error(t, err)
	assert.False(t, resp.IsError(err))
}
