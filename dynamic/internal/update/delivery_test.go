package update

import (
	"compress/gzip"
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// numbers returns the numbers from first to end-1 as texts.
func numbers(first, end int) (texts []string) {
	for i := first; i < end; i++ {
		texts = append(texts, strconv.Itoa(i))
	}
	return texts
}

// A reader that reads late gets all updates in order, even while it alternately falls behind and
// catches up.
func TestDelivery_BehindLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const updates = 3 * MaxChannel
		f := open(t, nil)
		for round := range 3 {
			f.deliverNumbers(updates)
			synctest.Wait()
			assert.EqualValues(t, updates-1, f.Stats().Waiting, "one is about to be put into the channel")
			for i := range updates {
				require.Equal(t, strconv.Itoa(i), (<-f.Channel()).GetValue(), "round %d", round)
			}
		}
		assert.Equal(t, Stats{Received: 3 * updates}, f.Stats())
		require.NoError(t, f.Close())
	})
}

// If the buffer is full, the policy decides which updates are kept. One more update than fits into
// the buffer may be kept, because a goroutine is about to put it into the channel.
func TestDelivery_Overflow(t *testing.T) {
	t.Parallel()
	const updates, size = 2000, 1500
	for name, tt := range map[string]struct {
		policy Overflow
		want   func(kept int) []string
	}{
		"oldest": {DropOldest, func(kept int) []string { return numbers(updates-kept, updates) }},
		"newest": {DropNewest, func(kept int) []string { return numbers(0, kept) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, func(_ *fixture, c *Config) { c.BufferSize, c.BufferBytes, c.Overflow = size, 0, tt.policy })
				for i := range updates {
					f.deliver(strconv.Itoa(i), nil)
					synctest.Wait()
				}
				stats := f.Stats()
				assert.EqualValues(t, updates, stats.Received)
				assert.InDelta(t, updates-size, stats.Dropped, 1)
				assert.Contains(t, f.log.String(), "its reader is too slow")
				var read []string
				for range stats.Received - stats.Dropped {
					read = append(read, (<-f.Channel()).GetValue())
				}
				assert.Equal(t, tt.want(len(read)), read)
				require.NoError(t, f.Close())
			})
		})
	}
}

func TestDelivery_OverflowEnds(t *testing.T) {
	t.Parallel()
	f := open(t, func(_ *fixture, c *Config) { c.BufferSize, c.BufferBytes, c.Overflow = 2, 0, End })
	for i := 0; f.Stats().Dropped == 0; i++ {
		f.deliver(strconv.Itoa(i), nil)
	}
	rest := f.rest()
	assert.Equal(t, numbers(0, 2), rest)
	require.ErrorIs(t, f.Err(), errors.ErrSlowConsumer)
	requireCode(t, errors.Unavailable, f.Err())
	require.EqualError(t, f.Err(), "the subscription to test.News/Queue has ended: its reader was too slow and its buffer was full")
	stats := f.Stats()
	assert.Equal(t, stats.Received, stats.Dropped+uint64(len(rest)))
}

// Large updates count towards BufferBytes, even while they are in the channel, and even if they
// were compressed.
func TestDelivery_BufferBytes(t *testing.T) {
	t.Parallel()
	const updates, size, kept = 50, 64 << 10, 10
	content := strings.Repeat("x", size)
	for name, compression := range map[string]int{"plain": gzip.NoCompression, "compressed": gzip.BestSpeed} {
		for _, policy := range []Overflow{DropOldest, DropNewest} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := open(t, func(_ *fixture, c *Config) { c.BufferBytes, c.Overflow = kept*size, policy })
					compressing := transport.CompressFrames(f.bus, transport.Compression{Level: compression})
					for range updates {
						frame, err := f.publisher.Encode(wrapperspb.String(content), nil)
						require.NoError(t, err)
						require.NoError(t, compressing.Publish(t.Context(), f.bus.channel, frame, nil))
						f.bus.deliver(f.bus.frame)
						synctest.Wait()
					}
					stats := f.Stats()
					assert.InDelta(t, kept, stats.Waiting, 2)
					assert.InDelta(t, updates-kept, stats.Dropped, 2)
					require.NoError(t, f.Close())
				})
			})
		}
	}
}

func TestDelivery_BadFrames(t *testing.T) {
	t.Parallel()
	f := open(t, nil)
	other, err := wire.AppendMessageFrame(nil, wire.Body{Message: &emptypb.Empty{}}, "google.protobuf.Empty", 0)
	require.NoError(t, err)
	broken, err := wire.AppendMessageFrame(nil, wire.Body{Raw: []byte{0xff}}, "google.protobuf.StringValue", 0)
	require.NoError(t, err)
	for _, frame := range [][]byte{nil, []byte("\xff"), other, broken} {
		f.bus.deliver(frame)
	}
	f.deliver("good", nil)
	assert.Equal(t, Stats{Received: 5, BadFrames: 4, Waiting: 1}, f.Stats())
	assert.Contains(t, f.log.String(), "dropped bad frame")
	assert.Equal(t, []string{"good"}, f.closeAndRead())
}

// If the conn is closing, frames stay in the backlog until the conn ends the subscription.
func TestDelivery_ConnIsClosing(t *testing.T) {
	t.Parallel()
	f := open(t, func(_ *fixture, c *Config) {
		c.Handle = func(context.Context, Update) error { return nil }
		c.Go = func(func()) error { return errors.ErrClientClosed }
	})
	f.deliver("lost", nil)
	f.End(errors.ErrClientClosed)
	assert.Empty(t, f.rest())
	assert.Equal(t, Stats{Received: 1, Dropped: 1}, f.Stats())
}

// Config.Handle gets all updates in order, with their metadata, and decides what is put into the
// channel.
func TestDelivery_Handle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, func(f *fixture, c *Config) {
			c.Handle = func(_ context.Context, update Update) error {
				switch content := update.Message.(text).GetValue(); content {
				case "drop":
					return nil
				case "twice":
					return errors.Join(f.Forward(update.Message), f.Forward(update.Message))
				default:
					return f.Forward(wrapperspb.String(content + update.Metadata["suffix"]))
				}
			}
		})
		f.deliver("a", map[string]string{"suffix": "!"})
		f.deliver("drop", nil)
		f.deliver("twice", nil)
		f.deliver("b", nil)
		synctest.Wait()
		assert.Equal(t, Stats{Received: 4, Waiting: 4}, f.Stats())
		assert.Equal(t, []string{"a!", "twice", "twice", "b"}, f.closeAndRead())
	})
}

func TestDelivery_HandleFails(t *testing.T) {
	t.Parallel()
	failure := errors.NewErrorf(errors.Internal, "the function has failed")
	f := open(t, func(f *fixture, c *Config) {
		c.Handle = func(_ context.Context, update Update) error {
			if update.Message.(text).GetValue() == "1" {
				return failure
			}
			return f.Forward(update.Message)
		}
	})
	f.deliverNumbers(3)
	assert.Equal(t, []string{"0"}, f.rest())
	require.ErrorIs(t, f.Err(), failure)
}

// Forward converts messages of another Go type and refuses messages of another protobuf type.
func TestDelivery_ForwardConverts(t *testing.T) {
	t.Parallel()
	f := open(t, nil)
	update := dynamicpb.NewMessage(wrapperspb.File_google_protobuf_wrappers_proto.Messages().ByName("StringValue"))
	encoded, err := proto.Marshal(wrapperspb.String("converted"))
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(encoded, update))
	require.NoError(t, f.Forward(update))
	for _, wrong := range []proto.Message{&emptypb.Empty{}, nil} {
		err := f.Forward(wrong)
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrEnded)
	}
	assert.Equal(t, []string{"converted"}, f.closeAndRead())
	require.ErrorIs(t, f.Forward(update), ErrEnded)
}

// A call to Forward that waits for room ends with the subscription.
func TestDelivery_ForwardEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, func(_ *fixture, c *Config) { c.BufferSize = 1 })
		require.NoError(t, f.Forward(wrapperspb.String("first")))
		forwarded := make(chan error, 1)
		go func() { forwarded <- f.Forward(wrapperspb.String("second")) }() // the test waits for its result
		synctest.Wait()
		assert.Equal(t, []string{"first"}, f.closeAndRead())
		require.ErrorIs(t, <-forwarded, ErrEnded)
		assert.Equal(t, Stats{Dropped: 1}, f.Stats())
	})
}
