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
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func TestSend_InOrder(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2, 64} {
		t.Run(fmt.Sprint("window=", size), func(t *testing.T) {
			t.Parallel()
			local, remote := open(t, window(size))
			var want []string
			for i := range 10 {
				want = append(want, fmt.Sprint(i))
				require.NoError(t, local.send(want[i]))
			}
			require.NoError(t, local.Flush(t.Context()))
			assert.Equal(t, want, remote.read(t, 10))
			require.NoError(t, remote.send("back"), "both sides can send")
			assert.Equal(t, []string{"back"}, local.read(t, 1))
		})
	}
}

// Without a window, Send returns when its message is in the reader's channel.
func TestSend_WaitsForTheReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, remote := open(t, nil)
		for range 10 {
			require.NoError(t, local.send("fits"))
		}
		go func() {
			<-time.After(time.Second)
			<-remote.reader.Messages()
		}()
		start := time.Now()
		require.NoError(t, local.send("waits"))
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// Each message fails exactly at its own deadline, in whatever order the deadlines are set.
func TestSend_TimesOutAtTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, _ := open(t, nil)
		require.NoError(t, local.send("arrives"), "the timer stays set for this message")
		local.link.lose()
		for _, limit := range []time.Duration{timeout, time.Minute, time.Second, 0} {
			go func() {
				start := time.Now()
				err := local.Send(say("lost"), SendOptions{Timeout: limit})
				assert.ErrorIs(t, err, errors.ErrRequestTimedOut)
				facts, ok := errors.FactsOf(err)
				assert.True(t, ok)
				assert.Equal(t, errors.PhaseStream, facts.Phase)
				assert.Equal(t, errors.ReasonSilent, facts.Reason)
				if limit == 0 {
					limit = timeout // the default
				}
				assert.Equal(t, limit, time.Since(start))
			}()
			<-time.After(100 * time.Millisecond)
		}
		<-time.After(time.Hour)
		local.inFlight.mu.Lock()
		assert.Zero(t, local.inFlight.timerAt, "the timer is not set while there is no message")
		local.inFlight.mu.Unlock()
		start := time.Now()
		require.ErrorIs(t, local.send("lost"), errors.ErrRequestTimedOut)
		assert.Equal(t, timeout, time.Since(start))
	})
}

func TestSend_ContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{0, 2} {
			local, _ := open(t, window(size))
			local.link.lose()
			for range size {
				require.NoError(t, local.send("lost"))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := local.Send(say("lost"), SendOptions{Context: ctx})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.NoError(t, local.Err(), "the stream stays open")
		}
	})
}

// failure is a reason why a frame does not arrive.
type failure struct {
	publish func(report bus.DeliveryReport) error
	code    errors.ErrorCode
	target  error
}

var failures = map[string]failure{
	"publish fails": {
		func(bus.DeliveryReport) error { return bus.ErrFrameTooLarge }, errors.ResourceExhausted, bus.ErrFrameTooLarge,
	},
	"lost later": {func(report bus.DeliveryReport) error {
		report.Delivered(bus.Unknown, bus.ErrClosed)
		return nil
	}, errors.Unavailable, bus.ErrClosed},
	"no receivers": {func(report bus.DeliveryReport) error {
		report.Delivered(0, nil)
		return nil
	}, errors.Unavailable, errors.ErrNoResponse},
}

func TestSend_FrameDoesNotArrive(t *testing.T) {
	t.Parallel()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local, _ := open(t, nil)
			local.link.intercept(func(_ *wire.Stream, report bus.DeliveryReport) error { return tt.publish(report) })
			err := local.send("lost")
			require.ErrorIs(t, err, tt.target)
			requireCode(t, tt.code, err)
			assert.Empty(t, local.inFlight.messages)
			assert.NoError(t, local.Err(), "the stream stays open")
		})
	}
}

// With a window, the next Send returns the error of a message that did not arrive, unless the Send
// of that message has already returned it.
func TestSend_FrameOfAWindowDoesNotArrive(t *testing.T) {
	t.Parallel()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local, remote := open(t, window(2))
			local.link.intercept(func(_ *wire.Stream, report bus.DeliveryReport) error { return tt.publish(report) })
			err := local.send("lost")
			local.link.restore()
			if err == nil {
				err = local.send("not sent")
				requireFailed(t, err, tt.target, 1)
			}
			require.ErrorIs(t, err, tt.target)
			for range 5 { // more than the window
				require.NoError(t, local.send("arrives"))
			}
			require.NoError(t, local.Flush(t.Context()))
			remote.read(t, 5)
		})
	}
}

// A delivery report that a frame has arrived has no effect.
func TestSend_FrameArrives(t *testing.T) {
	t.Parallel()
	for _, receivers := range []int{1, 2, bus.Unknown} {
		local, _ := open(t, nil)
		local.link.intercept(func(frame *wire.Stream, report bus.DeliveryReport) error {
			report.Delivered(receivers, nil)
			local.link.other.Dispatch(frame, 0)
			return nil
		})
		require.NoError(t, local.send("arrives"))
	}
}

func TestSend_InvalidMessage(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 2} {
		local, remote := open(t, window(size))
		for range 5 { // a slot of the window would be missing otherwise
			requireCode(t, errors.InvalidArgument, local.Send(nil, SendOptions{}))
			requireCode(t, errors.MalformedRequest, local.send("no UTF-8: \xff"))
		}
		require.NoError(t, local.send("arrives"))
		assert.Equal(t, []string{"arrives"}, remote.read(t, 1))
	}
}

func TestSend_AfterClose(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 2} {
		local, _ := open(t, window(size))
		cause := errors.NewErrorf(errors.NotFound, "gone")
		require.NoError(t, local.Close(cause))
		require.Equal(t, cause, local.send("late"))
		require.NoError(t, local.Flush(t.Context()))
	}
}

// A waiting Send returns the reason why the stream was closed.
func TestSend_ClosedWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{0, 2} {
			local, _ := open(t, window(size))
			local.link.lose()
			for range size {
				require.NoError(t, local.send("lost"))
			}
			result := make(chan error)
			go func() { result <- local.send("waits") }()
			synctest.Wait()
			local.CloseLocally(errors.ErrStreamEOF)
			require.ErrorIs(t, <-result, errors.ErrStreamEOF)
			if size > 0 {
				requireFailed(t, local.Flush(t.Context()), errors.ErrStreamEOF, 1, 2)
				require.NoError(t, local.Flush(t.Context()), "each message is reported once")
			}
		}
	})
}

func TestSend_WindowIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, _ := open(t, window(3))
		local.link.lose()
		start := time.Now()
		for range 3 {
			require.NoError(t, local.send("lost"))
		}
		assert.Zero(t, time.Since(start))
		require.ErrorIs(t, local.Send(say("waits"), SendOptions{Timeout: time.Second}), errors.ErrRequestTimedOut)
		assert.Equal(t, time.Second, time.Since(start))
		requireFailed(t, local.Flush(t.Context()), errors.ErrRequestTimedOut, 1, 2, 3)
		assert.Equal(t, timeout, time.Since(start))
	})
}

func TestUnacknowledgedError_Text(t *testing.T) {
	t.Parallel()
	one, many := &UnacknowledgedError{[]uint64{7}, bus.ErrClosed}, &UnacknowledgedError{[]uint64{1, 5, 7}, bus.ErrClosed}
	require.ErrorContains(t, one, "message 7 of the stream was not acknowledged: bus is closed")
	require.ErrorContains(t, many, "3 messages of the stream, from 1 to 7, were not acknowledged: bus is closed")
}

func TestFlush_ContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, _ := open(t, window(3))
		local.link.lose()
		require.NoError(t, local.send("lost"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, local.Flush(ctx), context.DeadlineExceeded)
	})
}

// While a busy bus blocks one Send, another Send waits for its turn, but only until its own
// timeout.
func TestSend_BusIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, _ := open(t, nil)
		free := make(chan struct{})
		local.link.intercept(func(*wire.Stream, bus.DeliveryReport) error {
			<-free
			return nil
		})
		go func() { _ = local.send("first") }()
		synctest.Wait()
		err := local.Send(say("second"), SendOptions{Timeout: time.Second})
		require.ErrorIs(t, err, errors.ErrRequestTimedOut)
		assert.Equal(t, []wire.StreamOp{wire.StreamMessage}, local.link.ops())
		close(free)
	})
}

func TestSendBounds(t *testing.T) {
	t.Parallel()
	local, _ := open(t, window(5))
	ctx, limit, size := local.SendBounds(SendOptions{})
	assert.Equal(t, local.Context(), ctx)
	assert.Equal(t, timeout, limit)
	assert.Equal(t, 5, size)
	ctx, limit, _ = local.SendBounds(SendOptions{Context: t.Context(), Timeout: time.Second})
	assert.Equal(t, t.Context(), ctx)
	assert.Equal(t, time.Second, limit)
	local.DisableWindow()
	_, _, size = local.SendBounds(SendOptions{})
	assert.Zero(t, size)
}

func TestAccept(t *testing.T) {
	t.Parallel()
	local, _ := open(t, nil)
	request := wire.Stream{RequestID: []byte("REQ_1"), SentAt: 1, Expiry: 2}
	require.NoError(t, local.Accept(t.Context(), &request, time.Second))
	ack := local.link.sent[0]
	assert.Equal(t, wire.StreamAck, ack.Op)
	assert.Equal(t, "STR_test", string(ack.StreamID))
	assert.Equal(t, "REQ_1", string(ack.RequestID))
	assert.Equal(t, []int64{1, 2, int64(time.Second)}, []int64{ack.SentAt, ack.Expiry, ack.Keepalive})
	closed := publishFunc(func(*wire.Stream, bus.DeliveryReport) error { return bus.ErrClosed })
	local.link.publish.Store(&closed)
	require.ErrorIs(t, local.Accept(t.Context(), &request, 0), bus.ErrClosed)
}

// TestSend_Allocations limits the allocations for a message in a window. Those on the other side
// are not counted. It is not parallel, because it counts the allocations of the whole process.
func TestSend_Allocations(t *testing.T) {
	local := newSide(t, window(64)).start(t)
	message, acked := say("0123456789"), publishFunc(func(frame *wire.Stream, _ bus.DeliveryReport) error {
		frame.Op = wire.StreamAck
		local.table.Dispatch(frame, 0)
		return nil
	})
	local.link.publish.Store(&acked)
	local.link.sent = make([]wire.Stream, 0, 2000)
	allocations := testing.AllocsPerRun(1000, func() { require.NoError(t, local.Send(message, SendOptions{})) })
	// Two of these are the message in flight and its frame. The bus of the test makes the others.
	assert.LessOrEqual(t, allocations, 4.0)
}
