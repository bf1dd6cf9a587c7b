package stream

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// receive passes frames to a side, as a bus callback would.
func (s *side) receive(frames ...wire.Stream) {
	for i := range frames {
		s.table.Dispatch(&frames[i], 0)
	}
}

func TestReceive_DroppedFrames(t *testing.T) {
	t.Parallel()
	good := messageFrame("good")
	change := func(change func(frame *wire.Stream)) wire.Stream {
		frame := messageFrame("bad")
		change(&frame)
		return frame
	}
	for name, tt := range map[string]struct {
		frame  wire.Stream
		reason transport.DropReason
	}{
		"delivered twice":     {good, transport.DropDuplicated},
		"no expiry":           {change(func(f *wire.Stream) { f.Expiry = 0 }), transport.DropExpired},
		"expiry before start": {change(func(f *wire.Stream) { f.Expiry = f.SentAt }), transport.DropExpired},
		"expired": {change(func(f *wire.Stream) {
			f.SentAt, f.Expiry = 0, time.Now().Add(-time.Minute).UnixNano()
		}), transport.DropExpired},
		"second open":   {change(func(f *wire.Stream) { f.Op = wire.StreamOpen }), transport.DropUnmatched},
		"no operation":  {change(func(f *wire.Stream) { f.Op = wire.StreamNone }), transport.DropUnmatched},
		"unknown ack":   {change(func(f *wire.Stream) { f.Op = wire.StreamAck }), transport.DropUnmatched},
		"malformed ack": {change(func(f *wire.Stream) { f.Op, f.RequestID = wire.StreamAck, []byte("REQ") }), transport.DropUnmatched},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, s := open(t, nil)
			s.receive(good, tt.frame)
			s.requireDropped(t, tt.reason, 1)
			assert.Equal(t, []string{"good"}, s.read(t, 1))
			require.NoError(t, s.Close(nil))
			s.requireClosedReader(t)
		})
	}
}

func TestReceive_AfterClose(t *testing.T) {
	t.Parallel()
	_, s := open(t, nil)
	require.NoError(t, s.Close(nil))
	s.Stream.receive(&wire.Stream{Op: wire.StreamPing}, 0)
	s.requireDropped(t, transport.DropUnmatched, 1)
	<-s.Ended()
	assert.False(t, s.table.Dispatch(&wire.Stream{StreamID: s.ID()}, 0), "the stream is no longer in the table")
}

// A message that cannot be decoded closes the stream on both sides.
func TestReceive_MalformedMessage(t *testing.T) {
	t.Parallel()
	local, remote := open(t, nil)
	bad := messageFrame("bad")
	bad.Body.Raw = []byte{0xff}
	remote.receive(bad)
	<-local.Context().Done()
	requireCode(t, errors.MalformedRequest, local.Err())
	requireCode(t, errors.MalformedRequest, remote.Err())
	local.requireClosedReader(t)
}

// While the reader's channel is full, messages are not acknowledged. They are dropped at their
// deadline, because their senders have then reported an error.
func TestReceive_ReaderIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, remote := open(t, window(20))
		for range 13 {
			require.NoError(t, local.send("hi"))
		}
		synctest.Wait()
		assert.EqualValues(t, 12, remote.table.Waiting(nil), "one message is on its way from the mailbox to the channel")
		<-time.After(timeout)
		synctest.Wait()
		requireFailed(t, local.Flush(t.Context()), errors.ErrRequestTimedOut, 11, 12, 13)
		remote.requireDropped(t, transport.DropExpired, 3)
		assert.EqualValues(t, 10, remote.table.Waiting(nil))
		remote.read(t, 10)
		require.NoError(t, local.send("hi"))
		require.NoError(t, local.Flush(t.Context()))
	})
}

func TestReceive_MailboxIsFull(t *testing.T) {
	t.Parallel()
	s := newSide(t, nil) // nothing takes messages out of the mailbox
	for range 10 + mailboxSlack {
		s.receive(messageFrame("fits"))
	}
	s.requireDropped(t, transport.DropOverflowed, 0)
	s.receive(messageFrame("does not"))
	s.requireDropped(t, transport.DropOverflowed, 1)
	s.Discard(nil)
	assert.Zero(t, s.mailbox.bytes.Load())
	assert.False(t, s.table.Dispatch(&wire.Stream{StreamID: s.ID()}, 0))
}

func TestMailbox_Limits(t *testing.T) {
	t.Parallel()
	budget := transport.Budget{Max: 100}
	b := newMailbox(1, &budget)
	huge := make([]byte, maxMailboxBytes+1)
	assert.True(t, b.put(Received{body: huge}), "an empty mailbox accepts any size")
	assert.False(t, b.put(Received{body: huge[:1]}))
	_, ok := b.take()
	assert.True(t, ok)
	assert.True(t, b.put(Received{body: huge[:maxMailboxBytes]}))
	assert.False(t, b.put(Received{body: huge[:1]}))
	b.take()

	assert.True(t, b.put(Received{expanded: 100}))
	assert.False(t, b.put(Received{expanded: 1}), "the memory is shared by all streams")
	b.take()
	assert.True(t, b.put(Received{expanded: 60}))
	b.close()
	assert.True(t, budget.TryTake(100), "close releases the memory")
	budget.Release(100)
	assert.False(t, b.put(Received{expanded: 60}), "a closed mailbox accepts nothing")
	assert.True(t, budget.TryTake(100))
	_, ok = b.take()
	assert.False(t, ok)
}

// Messages that arrived before the other side closed the stream can still be read.
func TestReceive_RestAfterRemoteClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, remote := open(t, window(20))
		for range 13 {
			require.NoError(t, local.send("hi"))
		}
		synctest.Wait()
		require.NoError(t, local.Close(nil))
		remote.read(t, 13)
		remote.requireClosedReader(t)
		require.ErrorIs(t, remote.Err(), errors.ErrStreamClosed)
	})
}

// If the user has stopped reading, the goroutine of the stream must still end.
func TestReceive_ReaderIsGone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		close func(s *side)
		want  time.Duration
	}{
		"after the timeout":     {func(*side) {}, timeout},
		"when the user closes":  {func(s *side) { _ = s.Close(nil) }, 0},
		"the user closes twice": {func(s *side) { _, _ = s.Close(nil), s.Close(nil) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				local, remote := open(t, window(20))
				for range 13 {
					require.NoError(t, local.send("hi"))
				}
				synctest.Wait()
				require.NoError(t, local.Close(nil))
				start := time.Now()
				tt.close(remote)
				<-remote.Ended()
				assert.Equal(t, tt.want, time.Since(start))
				remote.read(t, 10)
				remote.requireClosedReader(t)
			})
		})
	}
}

// recorder is a Chain that records what passes through it.
type recorder struct {
	stream            *Stream
	received, closed  []string
	finished          error
	discards, refuses bool
}

func (r *recorder) Receive(received Received, decoded proto.Message) bool {
	r.received = append(r.received, decoded.(text).GetValue())
	switch {
	case r.refuses:
		_ = r.stream.Close(errors.NewErrorf(errors.PermissionDenied, "refused"))
		return false
	case r.discards:
		r.stream.Acknowledge(&received)
		return true
	default:
		return r.stream.Deliver(&received, say("through the chain"))
	}
}

func (r *recorder) Close(cause error) error {
	r.closed = append(r.closed, "closed")
	return r.stream.Close(cause)
}

func (r *recorder) Finish(cause error) { r.finished = cause }

func TestChain(t *testing.T) {
	t.Parallel()
	local, remote := newSide(t, nil), newSide(t, nil)
	local.link.other, remote.link.other = &remote.table, &local.table
	chain := &recorder{stream: remote.Stream}
	remote.SetChain(chain)
	type key struct{}
	remote.SetContext(context.WithValue(remote.Context(), key{}, "value"))
	local.start(t)
	remote.start(t)
	assert.Equal(t, "value", remote.Context().Value(key{}))

	require.NoError(t, local.send("one"))
	assert.Equal(t, []string{"through the chain"}, remote.read(t, 1))
	require.NoError(t, remote.CloseIntercepted(nil))
	<-remote.Ended()
	assert.Equal(t, []string{"one"}, chain.received)
	assert.Equal(t, []string{"closed"}, chain.closed)
	require.ErrorIs(t, chain.finished, errors.ErrStreamClosed)
	require.ErrorIs(t, local.CloseIntercepted(nil), errors.ErrStreamClosed, "without a chain, it is Close")
}

func TestChain_KeepsMessages(t *testing.T) {
	t.Parallel()
	local, remote := newSide(t, nil), newSide(t, nil)
	local.link.other, remote.link.other = &remote.table, &local.table
	chain := &recorder{stream: remote.Stream, discards: true}
	remote.SetChain(chain)
	local.start(t)
	remote.start(t)
	require.NoError(t, local.send("one"), "the chain has acknowledged the message")
	require.NoError(t, remote.Close(nil))
	remote.requireClosedReader(t)
}

func TestChain_ClosesTheStream(t *testing.T) {
	t.Parallel()
	local, remote := newSide(t, nil), newSide(t, nil)
	local.link.other, remote.link.other = &remote.table, &local.table
	remote.SetChain(&recorder{stream: remote.Stream, refuses: true})
	local.start(t)
	remote.start(t)
	requireCode(t, errors.PermissionDenied, local.send("one"))
	<-remote.Ended()
}

func TestDiscard_FinishesTheChain(t *testing.T) {
	t.Parallel()
	s := newSide(t, nil)
	chain := &recorder{stream: s.Stream}
	s.SetChain(chain)
	s.CloseLocally(errors.ErrStreamEOF)
	s.Discard(errors.ErrClientClosed)
	assert.Equal(t, errors.ErrClientClosed, chain.finished)
}

// FuzzStream_Receive passes a frame with arbitrary content to an open stream. The stream must not
// panic. Afterwards, it must either still work or be closed.
func FuzzStream_Receive(f *testing.F) {
	request := id.NewRequest()
	for op := wire.StreamNone; op <= wire.StreamPing; op++ {
		f.Add(request[:], int64(1), int64(1)<<62, int32(op), int64(5), []byte("\x0a\x01a"), "unavailable", "text")
	}
	f.Add([]byte(nil), int64(-1)<<63, int64(1)<<62, int32(wire.StreamMessage), int64(0), []byte(nil), "", "")
	f.Fuzz(func(t *testing.T, requestID []byte, sentAt, expiry int64, op int32, keepalive int64, body []byte, code, text string) {
		synctest.Test(t, func(t *testing.T) {
			local, remote := newSide(t, nil), newSide(t, nil)
			local.link.other, remote.link.other = &remote.table, &local.table
			local.start(t)
			remote.start(t)
			remote.receive(wire.Stream{
				StreamID: remote.ID(), RequestID: requestID, SentAt: sentAt, Expiry: expiry, Op: wire.StreamOp(op),
				Keepalive: keepalive, Body: wire.Body{Raw: body}, Code: code, Error: text,
			})
			if err := local.send("hi"); err != nil {
				require.Error(t, remote.Err())
				return
			}
			for m := range remote.reader.Messages() {
				if m.GetValue() == "hi" {
					return
				}
			}
			require.Error(t, remote.Err())
		})
	})
}
