package stream

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// owner is a fake endpoint that implements Owner.
type owner struct{ closing bool }

func (o *owner) IsClosing() bool { return o.closing }

func TestTable_Add(t *testing.T) {
	t.Parallel()
	s := newSide(t, nil)
	other := New(t.Context(), s.config)
	require.ErrorIs(t, s.table.Add(other), ErrExists)
	s.table.Remove(other)
	assert.True(t, s.table.Dispatch(&wire.Stream{StreamID: s.ID()}, 0), "the stream with that ID is still there")
	s.Discard(nil)
	s.Discard(nil)
	assert.False(t, s.table.Dispatch(&wire.Stream{StreamID: s.ID()}, 0))
	require.NoError(t, s.table.Add(other))

	config := s.config
	config.ID, config.Owner = []byte("STR_closing"), &owner{closing: true}
	require.ErrorIs(t, s.table.Add(New(t.Context(), config)), errors.ErrStreamEOF)
}

// Close ends the streams of one owner.
func TestTable_Close(t *testing.T) {
	t.Parallel()
	first, second := &owner{}, &owner{}
	one := newSide(t, func(c *Config) { c.Owner = first }).start(t)
	two := newSide(t, func(c *Config) { c.ID, c.Owner = []byte("STR_two"), second }).start(t)
	require.NoError(t, one.table.Add(two.Stream))
	one.receive(messageFrame("hi"))
	require.Eventually(t, func() bool { return len(one.link.ops()) == 1 }, time.Minute, time.Millisecond,
		"the goroutine of the stream puts the message into the channel and acknowledges it")
	assert.EqualValues(t, 1, one.table.Waiting(first))
	assert.Zero(t, one.table.Waiting(second))
	assert.Zero(t, one.table.Waiting(nil))

	one.table.Close(first)
	require.ErrorIs(t, one.Err(), errors.ErrStreamEOF)
	require.NoError(t, two.Err())
	assert.Equal(t, []wire.StreamOp{wire.StreamAck, wire.StreamClose}, one.link.ops())
}

// Frames arrive while streams are added, removed and closed. The race detector finds data races.
func TestTable_Concurrent(t *testing.T) {
	t.Parallel()
	var table Table
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			s := newSide(t, nil)
			_ = table.Add(s.Stream)
			frame := messageFrame("hi")
			table.Dispatch(&frame, 0)
			table.Waiting(nil)
			table.Close(nil)
			table.Remove(s.Stream)
			s.Discard(nil)
		})
	}
	all.Wait()
	assert.False(t, table.Dispatch(&wire.Stream{StreamID: []byte("STR_test")}, 0))
}

// info is a fake InfoProvider. It stands for the request that opened a stream.
type info struct{}

func (info) RequestInfo() transport.RequestInfo {
	return transport.RequestInfo{ClientID: "CLI_1", Metadata: map[string]string{"room": "a"}}
}

func TestTap(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var events []tap.Traffic
	var listener tap.Tap
	s := newSide(t, func(c *Config) { c.Tap = &listener })
	s.SetContext(&lazyctx.Context{Parent: s.Context(), Info: info{}})
	s.link.other = &newSide(t, nil).table
	s.start(t)
	require.NoError(t, s.Accept(t.Context(), &wire.Stream{}, 0), "no function is set yet")
	listener.Set(func(event tap.Traffic) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	})
	require.NoError(t, s.Accept(t.Context(), &wire.Stream{}, 0))
	s.receive(messageFrame("in"))
	s.link.lose()
	require.Error(t, s.Send(say("out"), SendOptions{Timeout: time.Millisecond}))
	require.NoError(t, s.Close(errors.NewErrorf(errors.NotFound, "gone")))

	require.Len(t, events, 4)
	for i, kind := range []tap.Kind{tap.Open, tap.MessageIn, tap.MessageOut, tap.Close} {
		assert.Equal(t, kind, events[i].Kind)
		assert.Equal(t, "CLI_1", events[i].ClientID)
		assert.Equal(t, "STR_test", string(events[i].RequestID))
		assert.Equal(t, kind == tap.Open, events[i].Metadata != nil)
	}
	assert.Equal(t, messageFrame("in").Body.Raw, events[1].Encoded)
	assert.Equal(t, "out", events[2].Message.(text).GetValue())
	assert.Equal(t, errors.NotFound, events[3].Code)
	assert.Positive(t, events[3].Duration)
}
