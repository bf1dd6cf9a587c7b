package update

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type text = *wrapperspb.StringValue

const source = `
syntax = "proto3";
package test;
import "options.proto";
import "google/protobuf/wrappers.proto";
service News {
  rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).subscription = true;
  }
  rpc All(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options) = { subscription: true type: MULTI };
  }
  rpc Local(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options) = { subscription: true topics: true };
  }
}
`

// newMethod returns a method of the service that source declares.
func newMethod(t testing.TB, name string) *registry.Method {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"test.proto": {Data: []byte(source)}}, "test.proto"))
	method, ok := reg.Method("test.News/" + name)
	require.True(t, ok)
	return method
}

func newPublisher(t testing.TB, b bus.Bus, method *registry.Method) Publisher {
	t.Helper()
	return NewPublisher(b, method, message.EncodeOnly(method.Output()))
}

// testBus stores the arguments of its latest calls. Tests deliver frames by calling the field
// deliver.
type testBus struct {
	bus.Bus

	publishErr, subscribeErr error
	channel                  bus.Channel
	frame                    []byte
	mode                     bus.Mode
	deliver                  bus.Handler
	// release delays the end of subscriptions: Close waits until release is closed. If release is
	// nil, Close returns at once.
	release chan struct{}
}

func (b *testBus) Publish(_ context.Context, channel bus.Channel, frame []byte, _ bus.DeliveryReport) error {
	b.channel, b.frame = channel, frame
	return b.publishErr
}

func (b *testBus) Subscribe(
	_ context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	b.channel, b.mode, b.deliver = channel, mode, deliver
	return testSubscription{b}, b.subscribeErr
}

type testSubscription struct{ bus *testBus }

func (s testSubscription) Close() {
	if s.bus.release != nil {
		<-s.bus.release
	}
}

// fixture is a subscription and everything around it.
type fixture struct {
	*Subscription[text]

	t         testing.TB
	bus       *testBus
	publisher Publisher
	// tracked is the number of calls to Config.Track minus the number of calls to Config.Untrack.
	tracked int
	// log contains the log lines about dropped updates.
	log strings.Builder
}

// newFixture returns a subscription that is not open yet. change may be nil.
func newFixture(t testing.TB, change func(f *fixture, c *Config)) *fixture {
	t.Helper()
	method := newMethod(t, "Queue")
	updates, err := message.Resolve[text](method.Service(), method.Output())
	require.NoError(t, err)
	f := &fixture{t: t, bus: &testBus{}}
	f.publisher = newPublisher(t, f.bus, method)
	config := Config{
		Bus: f.bus, Method: method, Channel: channel(method, nil), Updates: &updates, BufferBytes: 64 << 20,
		CloseTimeout: time.Minute, // the tests may run on a busy machine
		Drops:        &transport.Drops{Logger: slog.New(slog.NewTextHandler(&f.log, nil))},
		Go:           func(run func()) error { go run(); return nil },
		Track:        func() error { f.tracked++; return nil },
		Untrack:      func() { f.tracked-- },
	}
	if change != nil {
		change(f, &config)
	}
	f.Subscription = New[text](config)
	return f
}

// open returns an open subscription. change may be nil.
func open(t testing.TB, change func(f *fixture, c *Config)) *fixture {
	t.Helper()
	f := newFixture(t, change)
	require.NoError(t, f.Open(t.Context()))
	return f
}

// deliver delivers an update with this content and metadata.
func (f *fixture) deliver(content string, metadata map[string]string) {
	f.t.Helper()
	frame, err := f.publisher.Encode(wrapperspb.String(content), metadata)
	require.NoError(f.t, err)
	f.bus.deliver(frame)
}

// deliverNumbers delivers updates whose contents are the numbers from 0.
func (f *fixture) deliverNumbers(updates int) {
	f.t.Helper()
	for i := range updates {
		f.deliver(strconv.Itoa(i), nil)
	}
}

// rest returns the contents of all updates in the channel of a subscription that has ended.
func (f *fixture) rest() (contents []string) {
	for update := range f.Channel() {
		contents = append(contents, update.GetValue())
	}
	return contents
}

// closeAndRead closes the subscription and returns the contents of the updates in its channel.
func (f *fixture) closeAndRead() []string {
	f.t.Helper()
	require.NoError(f.t, f.Close())
	return f.rest()
}

func requireCode(t testing.TB, code errors.ErrorCode, err error) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%v has no code", err)
	require.Equal(t, code, coded.Code(), err)
}
