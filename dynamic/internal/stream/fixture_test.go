package stream

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const source = `
syntax = "proto3";
package test;
import "options.proto";
import "google/protobuf/wrappers.proto";
service Flows {
  rpc Flow(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).stream = true; }
}
`

type text = *wrapperspb.StringValue

func say(s string) text { return wrapperspb.String(s) }

// flow is the method of all streams in the tests.
var flow = sync.OnceValue(func() *registry.Method {
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"test.proto": {Data: []byte(source)}}, "test.proto"); err != nil {
		panic(err)
	}
	service, _ := reg.Service("test.Flows")
	method, _ := service.Method("Flow")
	return method
})

// timeout is the timeout of the streams in the tests. It is long, so that messages arrive in time
// on a busy machine too.
const timeout = 30 * time.Second

// link is a bus that passes the frames of one side of a stream to the table of the other side.
type link struct {
	bus.Bus

	other *Table
	// publish points to the function that publishes frames. If it is nil, all frames reach the
	// other side.
	publish atomic.Pointer[publishFunc]

	mu sync.Mutex
	// sent contains the frames that were published.
	sent []wire.Stream
}

type publishFunc func(frame *wire.Stream, report bus.DeliveryReport) error

func (l *link) Publish(_ context.Context, _ bus.Channel, frame []byte, report bus.DeliveryReport) error {
	parsed, _, err := transport.Decode(frame, wire.KindStream, transport.Limits{}, wire.ParseStream)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.sent = append(l.sent, parsed)
	l.mu.Unlock()
	if publish := l.publish.Load(); publish != nil {
		return (*publish)(&parsed, report)
	}
	l.other.Dispatch(&parsed, 0)
	return nil
}

// intercept passes all messages to publish from now on, instead of delivering them. Other frames
// are still delivered.
func (l *link) intercept(publish publishFunc) {
	messages := publishFunc(func(frame *wire.Stream, report bus.DeliveryReport) error {
		if frame.Op == wire.StreamMessage {
			return publish(frame, report)
		}
		l.other.Dispatch(frame, 0)
		return nil
	})
	l.publish.Store(&messages)
}

// lose drops all messages from now on.
func (l *link) lose() {
	l.intercept(func(*wire.Stream, bus.DeliveryReport) error { return nil })
}

// restore undoes intercept and lose.
func (l *link) restore() { l.publish.Store(nil) }

// ops returns the operations of the frames that were published.
func (l *link) ops() (ops []wire.StreamOp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.sent {
		ops = append(ops, l.sent[i].Op)
	}
	return ops
}

// side is one side of a stream, together with the objects that its conn or server would own.
type side struct {
	*Stream

	reader       *Reader[text]
	link         *link
	table        Table
	drops        transport.Drops
	dedup        dedup.Cache
	decompressed transport.Budget
	skewed       atomic.Int64
}

// newSide returns a side that is in its own table, but does not run yet. change changes its Config.
func newSide(t testing.TB, change func(c *Config)) *side {
	t.Helper()
	texts, err := message.Resolve[text](nil, flow().Input())
	require.NoError(t, err)
	s := &side{link: &link{other: new(Table)}, drops: transport.Drops{Logger: slog.New(slog.DiscardHandler)}}
	s.decompressed.Max = 1 << 20
	config := Config{
		ID: []byte("STR_test"), Method: flow(), Bus: s.link, Timeout: timeout, SendType: texts, RecvType: texts,
		Buffer: 10, Drops: &s.drops, Dedup: &s.dedup, Decompressed: &s.decompressed,
		ClockOffset: new(clockskew.Offset), OnSkew: func() { s.skewed.Add(1) }, Ordered: true, Release: s.table.Remove,
	}
	if change != nil {
		change(&config)
	}
	s.Stream = New(context.Background(), config)
	s.reader = NewReader[text](s.Stream)
	require.NoError(t, s.table.Add(s.Stream))
	return s
}

// start runs the stream and closes it when the test ends.
func (s *side) start(t testing.TB) *side {
	t.Helper()
	go s.Run()
	t.Cleanup(func() {
		_ = s.Close(nil)
		<-s.Ended()
	})
	return s
}

// open returns both sides of a stream. change changes the Config of the first side.
func open(t testing.TB, change func(c *Config)) (local, remote *side) {
	t.Helper()
	local, remote = newSide(t, change), newSide(t, nil)
	local.link.other, remote.link.other = &remote.table, &local.table
	return local.start(t), remote.start(t)
}

func window(n int) func(c *Config) { return func(c *Config) { c.Window = n } }

func (s *side) send(body string) error { return s.Send(say(body), SendOptions{}) }

// read returns the next n messages.
func (s *side) read(t testing.TB, n int) (bodies []string) {
	t.Helper()
	for range n {
		m, ok := <-s.reader.Messages()
		require.True(t, ok)
		bodies = append(bodies, m.GetValue())
	}
	return bodies
}

func (s *side) requireDropped(t testing.TB, reason transport.DropReason, n uint64) {
	t.Helper()
	require.Equal(t, n, s.drops.Count(reason))
}

// requireClosedReader checks that there are no more messages.
func (s *side) requireClosedReader(t testing.TB) {
	t.Helper()
	m, ok := <-s.reader.Messages()
	require.False(t, ok, m)
}

func requireCode(t testing.TB, want errors.ErrorCode, err error) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, err)
	require.Equal(t, want, coded.Code(), err)
}

// requireFailed checks that err reports exactly the messages with these numbers as unacknowledged,
// and wraps cause.
func requireFailed(t testing.TB, err, cause error, numbers ...uint64) {
	t.Helper()
	failure, ok := errors.AsType[*UnacknowledgedError](err)
	require.True(t, ok, err)
	assert.Equal(t, numbers, failure.Messages)
	require.ErrorIs(t, err, cause)
}

// messageFrame returns a message as the other side would send it now. The message is valid for an
// hour.
func messageFrame(body string) wire.Stream {
	requestID, now := id.NewRequest(), time.Now()
	return wire.Stream{
		StreamID: []byte("STR_test"), RequestID: requestID[:], SentAt: now.UnixNano(), Expiry: now.Add(time.Hour).UnixNano(),
		Op: wire.StreamMessage, Body: wire.Body{Raw: append([]byte{1<<3 | 2, byte(len(body))}, body...)},
	}
}
