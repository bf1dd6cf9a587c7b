package resp_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// pipe returns a Conn and the server's end of its connection. Both are closed when the test ends.
func pipe(t *testing.T) (*resp.Conn, net.Conn) {
	t.Helper()
	client, server := net.Pipe()
	c := resp.NewConn(client, client.Close)
	t.Cleanup(func() { _, _ = c.Close(), server.Close() })
	return c, server
}

// BeforeRead must be called before each Read from the network, and not while the buffer contains
// another reply.
func TestConn_BeforeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, server := pipe(t)
		reads := 0
		c.BeforeRead = func() { reads++ }
		go func() { // this goroutine ends when the Conn has read everything
			_, _ = server.Write([]byte(":1\r\n:2\r\n:3\r\n"))
			_, _ = server.Write([]byte(":4\r\n"))
		}()
		for i, want := range []int{1, 1, 1, 2} {
			reply, err := resp.ReadReply(c.Reader)
			require.NoError(t, err)
			assert.EqualValues(t, i+1, reply)
			assert.Equal(t, want, reads)
		}
	})
}

// If OnDeadline returns nil, the Read must continue. If it returns an error, the Read must return
// that error.
func TestConn_OnDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, server := pipe(t)
		start, deadlines, failure := time.Now(), 0, errors.New("the session has ended")
		c.OnDeadline = func() error {
			if deadlines++; deadlines > 3 {
				return failure
			}
			return c.SetReadDeadline(time.Now().Add(time.Second))
		}
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		answer := time.AfterFunc(2500*time.Millisecond, func() { _, _ = server.Write([]byte(":5\r\n")) })
		defer answer.Stop()
		reply, err := resp.ReadReply(c.Reader)
		require.NoError(t, err)
		assert.EqualValues(t, 5, reply)
		assert.Equal(t, 2, deadlines)
		_, err = resp.ReadReply(c.Reader)
		require.ErrorIs(t, err, failure)
		assert.Equal(t, 4*time.Second, time.Since(start))
	})
}

func TestConn_DeadlineWithoutHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		_, err := resp.ReadReply(c.Reader)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.False(t, resp.IsError(err))
	})
}

// Interrupt must make OnDeadline run at once on the reading goroutine, or before its next Read.
func TestConn_Interrupt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t)
		interrupted := errors.New("interrupted")
		c.OnDeadline = func() error { return interrupted }
		result := make(chan error, 1)
		go func() { // this goroutine ends when it is interrupted
			_, err := resp.ReadReply(c.Reader)
			result <- err
		}()
		synctest.Wait()
		require.Empty(t, result)
		start := time.Now()
		c.Interrupt()
		require.ErrorIs(t, <-result, interrupted)
		assert.Zero(t, time.Since(start))
		_, err := resp.ReadReply(c.Reader)
		require.ErrorIs(t, err, interrupted, "the next Read")
	})
}

// Data that has arrived must be read even if the deadline has passed.
func TestConn_ReadsBufferedDataAfterTheDeadline(t *testing.T) {
	t.Parallel()
	c, server := pipe(t)
	go func() { _, _ = server.Write([]byte(":1\r\n:2\r\n")) }() // this goroutine ends when the Conn has read everything
	_, err := resp.ReadReply(c.Reader)
	require.NoError(t, err)
	c.Interrupt()
	reply, err := resp.ReadReply(c.Reader)
	require.NoError(t, err)
	assert.EqualValues(t, 2, reply)
}

func TestConn_CloseEndsReadsAndWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		closed := 0
		failure := errors.New("from closeConn")
		c := resp.NewConn(client, func() error {
			closed++
			_ = client.Close()
			return failure
		})
		read, written := make(chan error, 1), make(chan error, 1)
		go func() { // this goroutine ends with the connection
			_, err := resp.ReadReply(c.Reader)
			read <- err
		}()
		go func() { // this goroutine ends with the connection
			resp.WriteCommand(c.Writer, "ping")
			written <- c.Writer.Flush()
		}()
		synctest.Wait()
		require.ErrorIs(t, c.Close(), failure)
		require.ErrorIs(t, <-read, io.ErrClosedPipe)
		require.ErrorIs(t, <-written, io.ErrClosedPipe)
		assert.Equal(t, 1, closed)
	})
}

// Reads and writes are independent: a frame larger than any buffer must be written while replies
// are read.
func TestConn_BigFrameWhileReplies(t *testing.T) {
	t.Parallel()
	c, server := pipe(t)
	frame := strings.Repeat("x", 1<<20)
	written := make(chan error, 1)
	go func() { // this goroutine ends when the server has read the frame
		resp.WriteCommand(c.Writer, "message", "channel", frame)
		written <- c.Writer.Flush()
	}()
	other := resp.NewConn(server, server.Close)
	go func() { // this goroutine ends when the Conn has read the replies
		resp.WriteCommand(other.Writer, "message", "replies", frame)
		_ = other.Writer.Flush()
	}()
	for _, conn := range []*resp.Conn{c, other} {
		push, err := resp.ReadPush(conn.Reader, nil)
		require.NoError(t, err)
		require.Len(t, push.Message, len(frame))
		require.True(t, bytes.Equal(push.Message, []byte(frame)), "another frame")
	}
	require.NoError(t, <-written)
}
