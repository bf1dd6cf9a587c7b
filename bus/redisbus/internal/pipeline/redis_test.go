package pipeline_test

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// appendCommand is the command APPEND, whose reply is the length of the value. The length shows how
// often Redis has executed the command.
type appendCommand struct {
	value    string
	complete func(reply int64, err error)
}

func (c appendCommand) Size() int                       { return len(c.value) }
func (c appendCommand) Write(w *bufio.Writer)           { resp.WriteCommand(w, "append", "key", c.value) }
func (c appendCommand) Complete(reply int64, err error) { c.complete(reply, err) }

// startOn starts a pipeline to a real server. The channel is closed when Run has returned.
func startOn(t *testing.T, server *testenv.RedisServer, s *session, required bool) (*pipeline.Pipeline[appendCommand], <-chan struct{}) {
	t.Helper()
	dial := func(ctx context.Context) (*resp.Conn, error) {
		network, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(ctx, "tcp", server.Addr())
		if err != nil {
			return nil, err
		}
		return resp.NewConn(network, network.Close), nil
	}
	var conn *resp.Conn
	if required {
		var err error
		conn, err = dial(t.Context())
		require.NoError(t, err)
	}
	p := pipeline.New[appendCommand](config(s, func(c *pipeline.Config) { c.Required, c.Dial = required, dial }), conn)
	ended := make(chan struct{})
	go func() { // this goroutine ends with the session
		p.Run()
		close(ended)
	}()
	return p, ended
}

// A real server executes each command once and in order. After the end of the session, the pipeline
// must wait for the remaining replies.
func TestRedis_ExecutesEachCommandOnce(t *testing.T) {
	t.Parallel()
	const commands = 5000
	s := newSession()
	p, ended := startOn(t, testenv.Redis(t), s, true)
	var replies []int64
	item := appendCommand{"x", func(reply int64, err error) {
		assert.NoError(t, err)
		replies = append(replies, reply)
	}}
	for range commands {
		require.NoError(t, p.Send(t.Context(), item))
	}
	s.Fail(errSessionEnds)
	<-ended
	require.Len(t, replies, commands)
	for i, reply := range replies {
		require.EqualValues(t, i+1, reply)
	}
}

// A server is killed while it executes commands. Each command must be completed once: the first
// ones with their replies, all others with an error.
func TestRedis_KilledUnderLoad(t *testing.T) {
	t.Parallel()
	server, s := testenv.Redis(t), newSession()
	p, ended := startOn(t, server, s, true)
	var got []completion
	item := appendCommand{"x", func(reply int64, err error) { got = append(got, completion{"", reply, err}) }}
	accepted := 0
	for ; accepted < 1000; accepted++ {
		require.NoError(t, p.Send(t.Context(), item))
	}
	killed := make(chan struct{})
	go func() { // this goroutine ends when the server has been killed
		server.Kill()
		close(killed)
	}()
	for p.Send(t.Context(), item) == nil {
		accepted++
	}
	<-ended
	<-killed
	require.Error(t, s.Err())
	require.Len(t, got, accepted)
	failed := 0
	for i, c := range got {
		if c.err != nil {
			failed++
			continue
		}
		require.Zero(t, failed, "a reply after an error")
		require.EqualValues(t, i+1, c.reply)
	}
	t.Logf("%d commands, %d of them without a reply", accepted, failed)
}

// A pipeline that is not required must connect again to a server that was restarted.
func TestRedis_Restarted(t *testing.T) {
	t.Parallel()
	server, s := testenv.Redis(t), newSession()
	p, ended := startOn(t, server, s, false)
	done := make(chan completion, 1)
	send := func() completion {
		item := appendCommand{"x", func(reply int64, err error) { done <- completion{"", reply, err} }}
		require.NoError(t, p.Send(t.Context(), item))
		return <-done
	}
	assert.Equal(t, completion{"", 1, nil}, send())
	assert.Equal(t, completion{"", 2, nil}, send())
	server.Kill()
	require.Error(t, send().err, "the connection is lost, or refused")
	require.Error(t, send().err, "the server is down")
	server.Start()
	assert.Equal(t, completion{"", 1, nil}, send(), "the server has lost its data")
	s.Fail(errSessionEnds)
	<-ended
}

// Commands of very different sizes, some of them larger than any buffer, must be sent in order.
func TestRedis_AnySize(t *testing.T) {
	t.Parallel()
	s := newSession()
	p, ended := startOn(t, testenv.Redis(t), s, true)
	sizes := []int{0, 1, 100, 32 << 10, 32<<10 + 1, 64 << 10, 256 << 10, 1 << 20, 17 << 20, 1, 0, 5 << 20, 2}
	done := make(chan completion, len(sizes))
	complete := func(reply int64, err error) { done <- completion{"", reply, err} }
	for _, size := range sizes {
		require.NoError(t, p.Send(t.Context(), appendCommand{strings.Repeat("x", size), complete}))
	}
	total := 0
	for _, size := range sizes {
		total += size
		require.Equal(t, completion{"", int64(total), nil}, <-done)
	}
	s.Fail(errSessionEnds)
	<-ended
}
