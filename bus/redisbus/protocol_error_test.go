package redisbus_test

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// connectFake starts a server that answers commands with the function reply. It returns the server,
// a bus that is connected to it, and the events of the bus.
func connectFake(t *testing.T, reply func(w *bufio.Writer, command []string) bool) (*fakeRedis, *redisbus.Bus, events) {
	t.Helper()
	server, client := newFakeRedis(t, reply)
	busEvents := make(events, 100)
	b, err := redisbus.New(client, busEvents.handler())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return server, b, busEvents
}

// The server sends something on the pub/sub connection that the bus does not expect. The bus can no
// longer match replies with its commands, so it must connect again, and then work as before.
func TestBus_UnexpectedPush(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"hello\r\n":         "unexpected",
		"*1\r\n$1\r\nx\r\n": "unexpected",
		"*3\r\n$8\r\npmessage\r\n$1\r\nc\r\n$1\r\nx\r\n":   "unexpected",
		"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$-1\r\n":        "unexpected",
		"*3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n":   "unexpected sunsubscribe of channel c",
		"*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n":   "unexpected subscribe of channel other",
		"-ERR something\r\n":                               "error reply without a command: ERR something",
		"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$600000000\r\n": "unexpected",
	} {
		var sent atomic.Bool
		_, b, busEvents := connectFake(t, func(w *bufio.Writer, command []string) bool {
			if command[0] != "subscribe" || command[1] != "c" || sent.Swap(true) {
				return false
			}
			confirmFake(w, command[0], command[1])
			fmt.Fprint(w, text)
			return true
		})
		got := make(chan string, 10)
		// The subscription is either confirmed before the session ends, or fails with it.
		_, err := b.Subscribe(t.Context(), bus.Channel{Name: "c"}, bus.Broadcast, func(frame []byte) { got <- string(frame) })
		if err != nil {
			requireCode(t, errors.Unavailable, err)
		}
		require.ErrorContains(t, busEvents.next(t, bus.Disconnected).Err, want, "%q", text)
		busEvents.next(t, bus.Reconnected)
		if err == nil {
			requireArrives(t, b, bus.Channel{Name: "c"}, got, "after")
		}
		assert.EqualValues(t, 1, b.Stats().Disconnects, "%q", text)
	}
}

// The server replies to a publication with something other than a number or an error. The frame
// must be reported as lost, once, and the bus must connect again.
func TestBus_UnexpectedReply(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"$5\r\nhello\r\n": "unexpected",
		"*0\r\n":          "unexpected",
		":x\r\n":          "invalid syntax",
		"hello\r\n":       "unexpected",
	} {
		var sent atomic.Bool
		_, b, busEvents := connectFake(t, func(w *bufio.Writer, command []string) bool {
			if command[0] != "publish" || sent.Swap(true) {
				return false
			}
			fmt.Fprint(w, text)
			return true
		})
		published := make(report, 10)
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "c"}, []byte("lost"), published))
		err := <-published
		requireCode(t, errors.Unavailable, err)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, busEvents.next(t, bus.Disconnected).Err, want, "%q", text)
		busEvents.next(t, bus.Reconnected)
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "c"}, []byte("after"), published))
		require.NoError(t, <-published)
		assert.Empty(t, published)
		stats := b.Stats()
		assert.EqualValues(t, 1, stats.PublishErrors, "%q", text)
		assert.EqualValues(t, 1, stats.Published, "%q", text)
	}
}

// An error reply to a publication concerns only the frame of this publication. The delivery report
// must receive an error that depends on the reply, and the frames before and after it must be
// published.
func TestBus_PublishRefused(t *testing.T) {
	t.Parallel()
	codes := map[string]errors.ErrorCode{
		"NOPERM": errors.PermissionDenied, "OOM": errors.Unavailable, "ERR": errors.Unavailable, "MOVED": errors.Unavailable,
		"LOADING": errors.Unavailable,
	}
	_, b, busEvents := connectFake(t, func(w *bufio.Writer, command []string) bool {
		if command[0] != "publish" || codes[command[2]] == "" {
			return false
		}
		fmt.Fprintf(w, "-%s not now\r\n", command[2])
		return true
	})
	channel, published := bus.Channel{Name: "c"}, make(report, 10)
	for code, want := range codes {
		for _, frame := range []string{"before", code, "after"} {
			require.NoError(t, b.Publish(t.Context(), channel, []byte(frame), published))
		}
		require.NoError(t, <-published)
		err := <-published
		requireCode(t, want, err)
		require.ErrorContains(t, err, "cannot publish on channel c: "+code+" not now")
		require.NoError(t, <-published)
	}
	assert.Empty(t, busEvents, "the session goes on")
	assert.EqualValues(t, len(codes), b.Stats().PublishErrors)
}

// While the bus reconnects, frames may arrive before Redis has confirmed all channels. They must be
// delivered in order, before the frames that arrive later, and only once.
func TestBus_FramesDuringReconnect(t *testing.T) {
	t.Parallel()
	const early = 20
	var reconnecting atomic.Bool
	message := func(w *bufio.Writer, channel, frame string) {
		fmt.Fprintf(w, "*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(frame), frame)
	}
	server, b, busEvents := connectFake(t, func(w *bufio.Writer, command []string) bool {
		if command[0] != "subscribe" || !reconnecting.Load() {
			return false
		}
		for _, channel := range command[1:] {
			confirmFake(w, command[0], channel)
			if channel == "c" {
				for i := range early {
					message(w, channel, fmt.Sprint("early ", i))
				}
			}
		}
		message(w, "unknown", "a frame that no subscriber wants")
		return true
	})
	got := make(chan string, 100)
	for _, name := range []string{"a", "b", "c", "d"} {
		_, err := b.Subscribe(t.Context(), bus.Channel{Name: name}, bus.Broadcast, func(frame []byte) {
			// Like the handler of a server, this handler publishes. That would fail before the bus
			// has reconnected.
			assert.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "response"}, frame, nil))
			got <- string(frame)
		})
		require.NoError(t, err)
	}
	reconnecting.Store(true)
	server.closeConnections()
	busEvents.next(t, bus.Disconnected)
	busEvents.next(t, bus.Reconnected)
	for i := range early {
		assert.Equal(t, fmt.Sprint("early ", i), <-got)
	}
	assert.Empty(t, got)
	assert.EqualValues(t, early+1, b.Stats().Received)
}

// The server does not reply to SUBSCRIBE. Subscribe must return when its context ends.
func TestBus_SubscribeWithoutConfirmation(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	_, b, _ := connectFake(t, func(_ *bufio.Writer, command []string) bool {
		if command[0] != "subscribe" {
			return false
		}
		asked <- struct{}{}
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // this goroutine ends when the server has received the command
		<-asked
		cancel()
	}()
	_, err := b.Subscribe(ctx, bus.Channel{Name: "c"}, bus.Broadcast, func([]byte) {})
	require.ErrorIs(t, err, context.Canceled)
}

// If Redis refuses a command with several channels, the bus must send each channel again in a
// command of its own. Only the channel that Redis refuses again must fail.
func TestBus_RefusedTogether(t *testing.T) {
	t.Parallel()
	var together, alone atomic.Int64
	var strict atomic.Bool
	server, b, busEvents := connectFake(t, func(w *bufio.Writer, command []string) bool {
		if command[0] != "subscribe" || !strict.Load() {
			return false
		}
		if len(command) == 2 {
			alone.Add(1)
		} else {
			together.Add(1)
		}
		if !strings.Contains(strings.Join(command[1:], " "), "forbidden") {
			return false
		}
		fmt.Fprint(w, "-NOPERM no access\r\n")
		return true
	})
	names := []string{"a", "b", "forbidden", "d"}
	got := make(chan string, 10)
	for _, name := range names {
		_, err := b.Subscribe(t.Context(), bus.Channel{Name: name}, bus.Broadcast, func(frame []byte) { got <- name + string(frame) })
		require.NoError(t, err)
	}
	strict.Store(true)
	server.closeConnections()
	busEvents.next(t, bus.Disconnected)
	dropped := busEvents.next(t, bus.Dropped)
	assert.Equal(t, "forbidden", dropped.Channel)
	require.ErrorContains(t, dropped.Err, "NOPERM no access")
	busEvents.next(t, bus.Reconnected)
	assert.EqualValues(t, 1, together.Load())
	assert.EqualValues(t, len(names), alone.Load())
	for _, name := range names {
		published := make(receivers, 1)
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: name}, []byte("!"), published))
		if name == "forbidden" {
			assert.Zero(t, <-published)
			continue
		}
		assert.Equal(t, 1, <-published)
		assert.Equal(t, name+"!", <-got)
	}
	_, err := b.Subscribe(t.Context(), bus.Channel{Name: "forbidden"}, bus.Broadcast, func([]byte) {})
	requireCode(t, errors.PermissionDenied, err)
}
