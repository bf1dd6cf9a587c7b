package pipeline_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// requireSessionError requires that the pipeline has ended the session with an error that contains
// text, and that it accepts no more commands.
func (b *bubble) requireSessionError(text string) {
	b.t.Helper()
	<-b.ended
	require.ErrorContains(b.t, b.session.Err(), "command connection: ")
	require.ErrorContains(b.t, b.session.Err(), text)
	err := b.Send(b.t.Context(), command{name: "late", done: b.done})
	require.Equal(b.t, b.session.Err(), err)
}

// If the connection breaks, each command must be completed exactly once: with its reply if that has
// arrived, and with an error otherwise. No command may be sent again.
func TestPipeline_ConnectionBreaks(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.enqueue("a", "b", "c")
		b.Flush()
		b.send("d", "e", "f")
		b.requireBatches("a b c", "d")
		b.server.reply(t, ":1\r\n:2")
		b.requireReplies("a 1")
		require.NoError(t, b.server.conn.Close())
		b.requireSessionError("EOF")
		b.requireErrors("EOF", "b", "c", "d", "e", "f")
	})
}

// Redis must not send anything but replies. Anything else means that replies can no longer be
// matched with commands.
func TestPipeline_InvalidReplies(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"hello\r\n":         "unexpected",
		":x\r\n":            "invalid syntax",
		"$5\r\nhello\r\n":   "unexpected",
		"*3\r\n$1\r\nx\r\n": "unexpected",
	} {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			b.send("a")
			b.server.reply(t, text)
			b.requireSessionError(want)
			b.requireErrors(want, "a")
		})
	}
}

func TestPipeline_ReplyWithoutCommand(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.send("a")
		b.server.replyNumbers(t, 1)
		b.requireReplies("a 1")
		b.server.replyNumbers(t, 2)
		b.requireSessionError("redis sent a reply without a command")
	})
}

// brokenConn is a connection whose writes fail while its reads still work.
type brokenConn struct{ net.Conn }

var errWrite = errors.New("broken pipe")

func (brokenConn) Write([]byte) (int, error) { return 0, errWrite }

// If a write to the connection fails, the pipeline must complete the command with an error, even if
// nothing arrives from the server.
func TestPipeline_WriteFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, other := net.Pipe()
		defer other.Close()
		s, done := newSession(), make(chan completion, 1)
		p := pipeline.New[command](config(s, nil), resp.NewConn(brokenConn{client}, client.Close))
		ended := make(chan struct{})
		go func() { // this goroutine ends when the write has failed
			p.Run()
			close(ended)
		}()
		require.NoError(t, p.Send(t.Context(), command{name: "a", done: done}), "the command is accepted")
		<-ended
		require.Error(t, (<-done).err)
		require.ErrorContains(t, s.Err(), "command connection: ")
	})
}

// The pipeline must send PING twice in an interval if it is idle, and only then.
func TestPipeline_PingsWhenIdle(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		for range 10 {
			<-time.After(interval/2 - time.Millisecond)
			b.requireBatches()
			<-time.After(time.Millisecond)
			b.requireBatches("ping")
			b.server.reply(t, "+PONG\r\n")
		}
		b.send("a")
		<-time.After(interval / 2)
		b.requireBatches("a") // a reply is awaited
		b.server.replyNumbers(t, 1)
		b.requireReplies("a 1")
		require.NoError(t, b.session.Err())
	})
}

// A command that follows a PING must get its own reply.
func TestPipeline_CommandAfterPing(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		<-time.After(interval / 2)
		b.requireBatches("ping")
		b.send("a", "b")
		b.requireBatches("a")
		b.server.reply(t, "+PONG\r\n")
		b.requireReplies()
		b.requireBatches("b")
		b.server.replyNumbers(t, 1, 2)
		b.requireReplies("a 1", "b 2")
	})
}

// If Redis stops replying, the pipeline must notice this after one and a half to two intervals,
// whether it was idle or not.
func TestPipeline_NoReply(t *testing.T) {
	t.Parallel()
	for name, commands := range map[string][]string{"idle": nil, "busy": {"a", "b", "c"}} {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			start := time.Now()
			b.send(commands...)
			<-b.ended
			took := time.Since(start)
			assert.GreaterOrEqual(t, took, interval*3/2, name)
			assert.LessOrEqual(t, took, interval*2, name)
			b.requireSessionError("no reply from redis for 3s")
			b.requireErrors("no reply from redis for 3s", commands...)
		})
	}
}

// A slow server that replies to one command in each interval must not be considered dead.
func TestPipeline_SlowReplies(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.enqueue("a", "b", "c", "d")
		b.Flush()
		for i := range 4 {
			<-time.After(interval * 9 / 10)
			b.server.replyNumbers(t, i)
		}
		b.requireReplies("a 0", "b 1", "c 2", "d 3")
		require.NoError(t, b.session.Err())
	})
}

// When the session ends, commands that are in flight must still get their replies. Commands that
// wait must still be sent.
func TestPipeline_DrainsAfterTheSession(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.send("a", "b", "c")
		b.requireBatches("a", "b")
		b.session.Fail(errSessionEnds)
		b.requireErrors("")
		b.server.replyNumbers(t, 1)
		b.requireBatches("c")
		b.server.replyNumbers(t, 2)
		<-time.After(interval / 2)
		b.server.replyNumbers(t, 3)
		b.requireReplies("a 1", "b 2", "c 3")
		start := time.Now()
		<-b.ended
		assert.Zero(t, time.Since(start), "the last reply ends the pipeline")
	})
}

// After the end of the session, the pipeline must wait for replies for one interval only.
func TestPipeline_DrainsForALimitedTime(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.send("a", "b")
		<-time.After(interval / 3)
		b.server.replyNumbers(t, 1)
		start := time.Now()
		b.session.Fail(errSessionEnds)
		<-b.ended
		assert.Equal(t, interval, time.Since(start))
		require.Equal(t, completion{"a", 1, nil}, <-b.done)
		b.requireErrors(errSessionEnds.Error(), "b")
	})
}

func TestPipeline_IdleSessionEndsAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		start := time.Now()
		b.session.Fail(errSessionEnds)
		<-b.ended
		assert.Zero(t, time.Since(start))
		require.ErrorIs(t, b.Send(t.Context(), command{name: "late", done: b.done}), errSessionEnds)
		_, err := b.server.conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the connection is closed")
	})
}

// A pipeline that is not required must dial when the first command arrives. It must dial again
// after a failure, and must not send the old commands again.
func TestPipeline_DialsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := make(chan *server, 10)
		refused, refreshed := errors.New("connection refused"), 0
		dialErr := refused
		s, done := newSession(), make(chan completion, 10)
		p := pipeline.New[command](config(s, func(c *pipeline.Config) {
			c.Required = false
			c.Refresh = func(context.Context) { refreshed++ }
			c.Dial = func(context.Context) (*resp.Conn, error) {
				if dialErr != nil {
					return nil, dialErr
				}
				other, conn := newServer()
				go other.read() // this goroutine ends with the connection
				servers <- other
				return conn, nil
			}
		}), nil)
		ended := make(chan struct{})
		go func() { // this goroutine ends with the session
			p.Run()
			close(ended)
		}()
		send := func(name string) { require.NoError(t, p.Send(t.Context(), command{name: name, done: done})) }
		<-time.After(10 * interval)
		require.Empty(t, servers, "no command, no connection")

		send("a")
		c := <-done
		dial, ok := errors.AsType[pipeline.DialError](c.err)
		require.True(t, ok, "%v", c.err)
		require.ErrorIs(t, dial, refused)
		synctest.Wait()
		assert.Equal(t, 1, refreshed)

		dialErr = nil
		send("b")
		first := <-servers
		assert.Equal(t, []string{"b"}, <-first.batches)
		first.replyNumbers(t, 1)
		assert.Equal(t, completion{"b", 1, nil}, <-done)
		send("c")
		assert.Equal(t, []string{"c"}, <-first.batches)
		require.NoError(t, first.conn.Close())
		c = <-done
		require.Error(t, c.err)
		_, ok = errors.AsType[pipeline.DialError](c.err)
		assert.False(t, ok, "Redis may have executed the command")
		synctest.Wait()
		assert.Equal(t, 2, refreshed)

		send("d")
		second := <-servers
		assert.Equal(t, []string{"d"}, <-second.batches)
		second.replyNumbers(t, 2)
		assert.Equal(t, completion{"d", 2, nil}, <-done)
		require.NoError(t, s.Err(), "the session goes on")
		s.Fail(errSessionEnds)
		<-ended
		require.ErrorIs(t, p.Send(t.Context(), command{name: "late", done: done}), errSessionEnds)
	})
}

// While Redis does not reply, a pipeline that is not required must call Refresh, because another
// server may have taken over.
func TestPipeline_RefreshesWhileSilent(t *testing.T) {
	t.Parallel()
	var refreshed chan time.Time
	inBubble(t, func(c *pipeline.Config) {
		refreshed = make(chan time.Time, 100)
		c.Required = false
		c.Refresh = func(context.Context) { refreshed <- time.Now() }
	}, func(t *testing.T, b *bubble) {
		start := time.Now()
		b.send("a")
		for _, want := range []time.Duration{interval / 2, interval} {
			assert.Equal(t, want, (<-refreshed).Sub(start))
		}
		b.requireErrors("")
		assert.Equal(t, interval*3/2, (<-refreshed).Sub(start), "the connection is given up")
		b.requireErrors("no reply from redis", "a")
		require.NoError(t, b.session.Err())
	})
}

// If a required pipeline cannot dial, the error of the session must not be a DialError, because the
// other pipelines of the session may have sent commands.
func TestPipeline_RequiredCannotDial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("connection refused")
		s, done := newSession(), make(chan completion, 1)
		p := pipeline.New[command](config(s, func(c *pipeline.Config) {
			c.Dial = func(context.Context) (*resp.Conn, error) { return nil, refused }
		}), nil)
		ended := make(chan struct{})
		go func() { // this goroutine ends when it could not dial
			p.Run()
			close(ended)
		}()
		require.NoError(t, p.Send(t.Context(), command{name: "a", done: done}))
		<-ended
		require.ErrorIs(t, s.Err(), refused)
		_, ok := errors.AsType[pipeline.DialError](s.Err())
		assert.False(t, ok)
		require.ErrorIs(t, (<-done).err, refused)
	})
}

// The session may end before the first command has arrived, or while the pipeline dials. Run must
// then return.
func TestPipeline_SessionEndsWithoutConnection(t *testing.T) {
	t.Parallel()
	for name, dials := range map[string]bool{"no command": false, "dialing": true} {
		synctest.Test(t, func(t *testing.T) {
			s, done := newSession(), make(chan completion, 1)
			p := pipeline.New[command](config(s, func(c *pipeline.Config) {
				c.Required = false
				c.Dial = func(ctx context.Context) (*resp.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}), nil)
			ended := make(chan struct{})
			go func() { // this goroutine ends with the session
				p.Run()
				close(ended)
			}()
			if dials {
				require.NoError(t, p.Send(t.Context(), command{name: "a", done: done}), name)
			}
			synctest.Wait()
			s.Fail(errSessionEnds)
			<-ended
			if dials {
				require.ErrorIs(t, (<-done).err, errSessionEnds)
			}
		})
	}
}
