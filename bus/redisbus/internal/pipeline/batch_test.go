package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// While fewer than two batches are unanswered, a command is written at once. Further commands must
// wait for a reply and then share a batch.
func TestPipeline_BatchesGrowUnderLoad(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(_ *testing.T, b *bubble) {
		b.send("a")
		b.requireBatches("a")
		b.send("b", "c", "d", "e")
		b.requireBatches("b")
		b.server.replyNumbers(b.t, 1)
		b.requireReplies("a 1")
		b.requireBatches("c d e")
		b.send("f")
		b.requireBatches()
		b.server.replyNumbers(b.t, 2)
		b.requireReplies("b 2")
		b.requireBatches("f")
		b.server.replyNumbers(b.t, 3, 4)
		b.requireReplies("c 3", "d 4")
		b.send("g")
		b.requireBatches() // the batch of c, d and e is unanswered as long as e is
		b.server.replyNumbers(b.t, 5, 6)
		b.requireReplies("e 5", "f 6")
		b.requireBatches("g")
		b.server.replyNumbers(b.t, 7)
		b.requireReplies("g 7")
	})
}

// Enqueue must not write, so that several commands share the write of Flush.
func TestPipeline_FlushWritesWhatWasEnqueued(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(_ *testing.T, b *bubble) {
		b.enqueue("a", "b", "c")
		b.requireBatches()
		b.Flush()
		b.requireBatches("a b c")
		b.Flush()
		b.requireBatches()
		b.server.replyNumbers(b.t, 1, 2, 3)
		b.requireReplies("a 1", "b 2", "c 3")
	})
}

// Commands that were enqueued without a flush must be written when the next reply arrives.
func TestPipeline_WritesBeforeItWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(_ *testing.T, b *bubble) {
		b.send("a")
		b.enqueue("b", "c")
		b.requireBatches("a")
		b.server.replyNumbers(b.t, 1)
		b.requireReplies("a 1")
		b.requireBatches("b c")
		b.server.replyNumbers(b.t, 2, 3)
		b.requireReplies("b 2", "c 3")
	})
}

// A batch must contain at most MaxBatch commands: with large batches, one process would take the
// locks on a whole burst of frames.
func TestPipeline_MaxBatch(t *testing.T) {
	t.Parallel()
	inBubble(t, func(c *pipeline.Config) { c.MaxBatch = 3 }, func(_ *testing.T, b *bubble) {
		b.enqueue("a", "b", "c", "d", "e", "f", "g")
		b.Flush()
		b.requireBatches("a b c", "d e f")
		b.server.replyNumbers(b.t, 1, 2)
		b.requireBatches()
		b.server.replyNumbers(b.t, 3)
		b.requireBatches("g")
		b.server.replyNumbers(b.t, 4, 5, 6, 7)
		b.requireReplies("a 1", "b 2", "c 3", "d 4", "e 5", "f 6", "g 7")
	})
}

// An error reply belongs to one command. The commands after it must get their own replies.
func TestPipeline_EachCommandGetsItsReply(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.enqueue("a", "b", "c", "d", "e", "f")
		b.Flush()
		b.requireBatches("a b c d e f")
		b.server.reply(t, ":1\r\n+OK\r\n$-1\r\n-OOM no memory\r\n-MOVED 1 a:1\r\n*2\r\n$1\r\nc\r\n:6\r\n")
		synctest.Wait()
		for _, want := range []completion{
			{"a", 1, nil}, {"b", 0, nil}, {"c", 0, redis.Nil}, {"d", 0, resp.Error("OOM no memory")},
			{"e", 0, resp.Error("MOVED 1 a:1")}, {"f", 6, nil},
		} {
			assert.Equal(t, want, <-b.done)
		}
		require.NoError(t, b.session.Err(), "an error reply does not end the session")
	})
}

// A caller must not wait for the network while a large command is written.
func TestPipeline_LargeCommandsAreWrittenByRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, done := newSession(), make(chan completion, 10)
		other, conn := newServer()
		p := pipeline.New[command](config(s, nil), conn)
		ended := make(chan struct{})
		go func() { // this goroutine ends with the session
			p.Run()
			close(ended)
		}()
		synctest.Wait()
		// The server does not read yet, so each write blocks.
		require.NoError(t, p.Send(t.Context(), command{name: "large", padding: 33 << 10, done: done}))
		synctest.Wait()
		require.NoError(t, p.Send(t.Context(), command{name: "small", done: done}))
		synctest.Wait()
		go other.read() // this goroutine ends with the connection
		assert.Equal(t, []string{"large"}, <-other.batches)
		other.replyNumbers(t, 1)
		assert.Equal(t, []string{"small"}, <-other.batches)
		other.replyNumbers(t, 2)
		assert.Equal(t, completion{"large", 1, nil}, <-done)
		assert.Equal(t, completion{"small", 2, nil}, <-done)
		s.Fail(errSessionEnds)
		<-ended
	})
}

// If the maximum number of commands is waiting, a required pipeline must make callers wait until
// there is space, or until their context ends.
func TestPipeline_CallersWaitForSpace(t *testing.T) {
	t.Parallel()
	inBubble(t, func(c *pipeline.Config) { c.Capacity = 2 }, func(t *testing.T, b *bubble) {
		b.send("a", "b", "c", "d")
		b.requireBatches("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, b.Send(ctx, command{name: "given up", done: b.done}), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))

		sent := make(chan error, 2)
		for range 2 {
			go func() { sent <- b.Send(t.Context(), command{name: "e", done: b.done}) }() // this goroutine ends with the next reply
		}
		synctest.Wait()
		assert.Empty(t, sent)
		b.server.replyNumbers(t, 1)
		require.NoError(t, <-sent)
		require.NoError(t, <-sent)
		b.requireBatches("c d")
		b.server.replyNumbers(t, 2, 3, 4)
		b.requireBatches("e e")
		b.server.replyNumbers(t, 5, 6)
		b.requireReplies("a 1", "b 2", "c 3", "d 4", "e 5", "e 6")
	})
}

// A caller that waits for space must get the session's error when the session ends.
func TestPipeline_WaitForSpaceEndsWithTheSession(t *testing.T) {
	t.Parallel()
	inBubble(t, func(c *pipeline.Config) { c.Capacity = 1 }, func(t *testing.T, b *bubble) {
		b.send("a", "b", "c")
		sent := make(chan error, 1)
		go func() { sent <- b.Send(t.Context(), command{name: "d", done: b.done}) }() // this goroutine ends with the session
		synctest.Wait()
		require.Empty(t, sent)
		b.session.Fail(errSessionEnds)
		require.ErrorIs(t, <-sent, errSessionEnds)
		b.requireErrors("")
		<-b.ended
		b.requireErrors(errSessionEnds.Error(), "a", "b", "c")
	})
}

// The pipeline to one slow server of a cluster must not make its caller wait, because the caller
// also serves the other servers.
func TestPipeline_FullUnlessRequired(t *testing.T) {
	t.Parallel()
	inBubble(t, func(c *pipeline.Config) { c.Capacity, c.Required = 2, false }, func(t *testing.T, b *bubble) {
		b.send("a", "b", "c", "d")
		err := b.Enqueue(t.Context(), command{name: "e", done: b.done})
		require.ErrorIs(t, err, pipeline.ErrFull)
		require.ErrorIs(t, err, errors.ResourceExhausted)
		b.server.replyNumbers(t, 1)
		b.send("f")
		b.server.replyNumbers(t, 2, 3, 4)
		b.server.replyNumbers(t, 5)
		b.requireReplies("a 1", "b 2", "c 3", "d 4", "f 5")
	})
}

// On a slow link, more than two batches must be in flight. When the link has become fast, the limit
// must be two again.
func TestPipeline_SlowLink(t *testing.T) {
	t.Parallel()
	const roundTrip = 50 * time.Millisecond
	inBubble(t, func(c *pipeline.Config) { c.Capacity, c.MaxBatch = 10_000, 1 }, func(t *testing.T, b *bubble) {
		assert.Greater(t, b.exchange(roundTrip, time.Millisecond, time.Second), 40, "nearly one batch per millisecond")
		assert.LessOrEqual(t, b.exchange(0, 100*time.Millisecond, 11*time.Second), 2, "a command and a PING")
		// The limit falls with the first short wait.
		const burst = 100
		for range burst {
			b.send("x")
		}
		first := len(b.server.batches)
		assert.Greater(t, first, 40)
		for len(b.server.batches) > 0 {
			b.server.replyNumbers(t, make([]int, len(<-b.server.batches))...)
			synctest.Wait()
		}
		for range burst {
			require.NoError(t, (<-b.done).err)
		}
		b.send("a", "b", "c")
		b.requireBatches("a", "b")
		b.server.replyNumbers(t, 1)
		b.server.replyNumbers(t, 2, 3)
		b.requireReplies("a 1", "b 2", "c 3")
	})
}

// exchange sends a command in each step until the duration has passed. The server replies to each
// batch after the given delay. exchange returns the largest number of unanswered batches, after all
// commands have been completed.
func (b *bubble) exchange(delay, step, duration time.Duration) (maxUnanswered int) {
	b.t.Helper()
	type unanswered struct {
		due      time.Time
		commands int
	}
	var batches []unanswered
	start := time.Now()
	for time.Since(start) < duration || len(batches) > 0 {
		if time.Since(start) < duration {
			b.send("x")
		}
		for len(b.server.batches) > 0 {
			batches = append(batches, unanswered{time.Now().Add(delay), len(<-b.server.batches)})
		}
		maxUnanswered = max(maxUnanswered, len(batches))
		for len(batches) > 0 && !time.Now().Before(batches[0].due) {
			b.server.replyNumbers(b.t, make([]int, batches[0].commands)...)
			batches = batches[1:]
			synctest.Wait()
		}
		<-time.After(step)
	}
	for len(b.done) > 0 {
		require.NoError(b.t, (<-b.done).err)
	}
	return maxUnanswered
}

// Many goroutines send at the same time. The commands of each must stay in order, and each command
// must get its own reply.
func TestPipeline_ConcurrentCallers(t *testing.T) {
	t.Parallel()
	const callers, commands = 16, 300
	s, done := newSession(), make(chan completion, callers*commands)
	other, conn := newServer()
	p := pipeline.New[command](config(s, nil), conn)
	ended := make(chan struct{})
	go func() { // this goroutine ends with the session
		p.Run()
		close(ended)
	}()
	go other.read() // this goroutine ends with the connection
	var received []string
	replied := make(chan struct{})
	go func() { // this goroutine ends with the connection
		defer close(replied)
		for batch := range other.batches {
			var text strings.Builder
			for _, name := range batch {
				fmt.Fprintf(&text, ":%d\r\n", len(received))
				received = append(received, name)
			}
			_, _ = other.conn.Write([]byte(text.String()))
		}
	}()
	for caller := range callers {
		go func() { // this goroutine ends when its commands have been accepted
			for i := range commands {
				padding := 0
				if i%50 == 0 {
					padding = 40 << 10
				}
				assert.NoError(t, p.Send(t.Context(), command{name: fmt.Sprintf("%d/%d", caller, i), padding: padding, done: done}))
			}
		}()
	}
	replies := map[string]int64{}
	for range callers * commands {
		c := <-done
		require.NoError(t, c.err)
		replies[c.name] = c.reply
	}
	s.Fail(errSessionEnds)
	<-ended
	<-replied
	require.Len(t, received, callers*commands)
	next := map[string]int{}
	for i, name := range received {
		require.EqualValues(t, i, replies[name], name)
		caller, number, _ := strings.Cut(name, "/")
		require.Equal(t, fmt.Sprint(next[caller]), number, "of caller %s", caller)
		next[caller]++
	}
}
