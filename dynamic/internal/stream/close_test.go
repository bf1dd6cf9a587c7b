package stream

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// errDetailed is an error with a detail.
var errDetailed = errors.NewError(errors.NotFound, errors.New("no such room"), say("detail"))

func TestClose_ReachesTheOtherSide(t *testing.T) {
	t.Parallel()
	coded := errors.NewErrorf(errors.NotFound, "no such room")
	for name, tt := range map[string]struct {
		cause, local error
		code         errors.ErrorCode
		text         string
	}{
		"no cause":     {nil, errors.ErrStreamClosed, errors.Canceled, "stream closed"},
		"coded":        {coded, coded, errors.NotFound, "no such room"},
		"without code": {fmt.Errorf("broken"), nil, errors.Unknown, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local, remote := open(t, nil)
			require.NoError(t, local.Close(tt.cause))
			if tt.local != nil {
				assert.Equal(t, tt.local, local.Err())
			}
			for _, s := range []*side{local, remote} {
				<-s.Context().Done()
				requireCode(t, tt.code, s.Err())
				require.ErrorContains(t, s.Err(), tt.text)
				assert.Equal(t, s.Err(), context.Cause(s.Context()))
				assert.Equal(t, s.Err(), s.Close(nil), "a second Close returns the reason")
				s.requireClosedReader(t)
			}
			assert.Equal(t, []wire.StreamOp{wire.StreamClose}, local.link.ops())
			assert.Empty(t, remote.link.ops(), "a side that was told of the close sends none")
		})
	}
}

func TestClose_SendsDetails(t *testing.T) {
	t.Parallel()
	local, remote := open(t, nil)
	require.NoError(t, local.Close(errDetailed))
	<-remote.Context().Done()
	coded, ok := errors.AsType[errors.Error](remote.Err())
	require.True(t, ok)
	assert.Equal(t, errors.NotFound, coded.Code())
	assert.Len(t, coded.DetailsProto(), 1)
}

// If the close frame is too large for the bus, a smaller one is sent.
func TestClose_TooLarge(t *testing.T) {
	t.Parallel()
	local, remote := open(t, nil)
	first := true
	limited := publishFunc(func(frame *wire.Stream, _ bus.DeliveryReport) error {
		if first {
			first = false
			return bus.ErrFrameTooLarge
		}
		local.link.other.Dispatch(frame, 0)
		return nil
	})
	local.link.publish.Store(&limited)
	require.NoError(t, local.Close(errDetailed))
	<-remote.Context().Done()
	coded, ok := errors.AsType[errors.Error](remote.Err())
	require.True(t, ok)
	assert.Equal(t, errors.NotFound, coded.Code())
	assert.Empty(t, coded.DetailsProto())
}

func TestClose_BusFails(t *testing.T) {
	t.Parallel()
	local, _ := open(t, nil)
	broken := publishFunc(func(*wire.Stream, bus.DeliveryReport) error { return bus.ErrClosed })
	local.link.publish.Store(&broken)
	err := local.Close(nil)
	require.ErrorIs(t, err, bus.ErrClosed)
	requireCode(t, errors.Unavailable, err)
	require.ErrorIs(t, local.Err(), errors.ErrStreamClosed, "the stream is closed on this side")
}

// The close frame is the last frame of a stream, and Run does not return before it is sent.
func TestClose_WaitsForTheFrameBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, _ := open(t, window(2))
		free := make(chan struct{})
		local.link.intercept(func(*wire.Stream, bus.DeliveryReport) error {
			<-free
			return nil
		})
		go func() { _ = local.send("first") }()
		synctest.Wait()
		go func() { _ = local.send("waits for the first") }()
		synctest.Wait()
		go func() { _ = local.Close(nil) }()
		synctest.Wait()
		require.ErrorIs(t, local.Err(), errors.ErrStreamClosed)
		select {
		case <-local.Ended():
			require.Fail(t, "Run has returned before the close frame was sent")
		default:
		}
		close(free)
		<-local.Ended()
		assert.Equal(t, []wire.StreamOp{wire.StreamMessage, wire.StreamClose}, local.link.ops())
	})
}

// Close gives up waiting for a bus that does not answer.
func TestClose_BusIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, _ := open(t, window(2))
		free := make(chan struct{})
		local.link.intercept(func(*wire.Stream, bus.DeliveryReport) error {
			<-free
			return nil
		})
		go func() { _ = local.send("first") }()
		synctest.Wait()
		start := time.Now()
		requireCode(t, errors.DeadlineExceeded, local.Close(nil))
		assert.Equal(t, timeout, time.Since(start))
		close(free)
	})
}

func TestCloseWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, remote := open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		local.CloseWithContext(ctx)
		cancel()
		<-remote.Context().Done()
		requireCode(t, errors.Unknown, local.Err())
		require.ErrorIs(t, local.Err(), context.Canceled)
		local.CloseWithContext(ctx) // does nothing, because the stream is closed
	})
}

func TestCloseLocally(t *testing.T) {
	t.Parallel()
	local, remote := open(t, nil)
	require.True(t, local.CloseLocally(errors.ErrStreamEOF))
	require.False(t, local.CloseLocally(errors.ErrStreamClosed))
	require.ErrorIs(t, local.Err(), errors.ErrStreamEOF)
	assert.Empty(t, local.link.ops())
	require.NoError(t, remote.Err())
}

func TestHijack(t *testing.T) {
	t.Parallel()
	local, _ := open(t, nil)
	assert.False(t, local.Hijacked())
	local.Hijack()
	assert.True(t, local.Hijacked())
}

// opener records the answers to the request that opens a stream.
type opener struct {
	opened  []time.Duration
	refused []error
}

func (o *opener) Opened(keepalive time.Duration) { o.opened = append(o.opened, keepalive) }
func (o *opener) Refused(err errors.Error)       { o.refused = append(o.refused, err) }

func TestOpener(t *testing.T) {
	t.Parallel()
	request, o := id.NewRequest(), &opener{}
	s := newSide(t, func(c *Config) { c.Opener, c.OpenID = o, request })
	ack := wire.Stream{StreamID: s.ID(), RequestID: request[:], Expiry: 1, Op: wire.StreamAck, Keepalive: 5}
	s.receive(ack, ack)
	assert.Equal(t, []time.Duration{5, 5}, o.opened)
	s.receive(wire.Stream{StreamID: s.ID(), Expiry: 1, Op: wire.StreamClose, Code: "not_found", Error: "no such room"})
	require.Len(t, o.refused, 1)
	requireCode(t, errors.NotFound, o.refused[0])
	s.Discard(nil)
}
