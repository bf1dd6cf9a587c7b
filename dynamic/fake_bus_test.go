package dynamic_test

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// fakeBus is a bus that records what is published. A test can replace its Publish and Subscribe
// methods.
type fakeBus struct {
	bus.Bus

	// publish and subscribe replace the methods of the embedded bus unless they are nil. They may
	// call those methods.
	publish   func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error
	subscribe func(ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler) (bus.Subscription, error)

	mu            sync.Mutex
	frames        []published
	subscriptions map[string]int // the number of open subscriptions by channel name
}

type published struct {
	channel string
	frame   []byte
}

func newFakeBus() *fakeBus { return &fakeBus{Bus: bus.NewLocal(), subscriptions: map[string]int{}} }

func (b *fakeBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	b.mu.Lock()
	b.frames = append(b.frames, published{channel.Name, frame})
	b.mu.Unlock()
	return b.publisher()(ctx, channel, frame, report)
}

// publisher returns the function that currently publishes frames.
func (b *fakeBus) publisher() func(context.Context, bus.Channel, []byte, bus.DeliveryReport) error {
	if b.publish != nil {
		return b.publish
	}
	return b.Bus.Publish
}

func (b *fakeBus) Subscribe(
	ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	subscribe := b.Bus.Subscribe
	if b.subscribe != nil {
		subscribe = b.subscribe
	}
	subscription, err := subscribe(ctx, channel, join, deliver)
	if err != nil {
		return nil, err
	}
	b.count(channel.Name, 1)
	return &fakeSubscription{Subscription: subscription, closed: func() { b.count(channel.Name, -1) }}, nil
}

func (b *fakeBus) count(channel string, change int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscriptions[channel] += change
	if b.subscriptions[channel] == 0 {
		delete(b.subscriptions, channel)
	}
}

// open returns the number of open subscriptions by channel name.
func (b *fakeBus) open() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.subscriptions)
}

// sent returns all frames that were published so far.
func (b *fakeBus) sent() []published {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.frames)
}

// sentKinds returns the kind of each published frame, in the order of publishing.
func (b *fakeBus) sentKinds(t testing.TB) []wire.Kind {
	t.Helper()
	var kinds []wire.Kind
	for _, sent := range b.sent() {
		envelope, err := wire.ParseEnvelope(sent.frame)
		require.NoError(t, err)
		kinds = append(kinds, envelope.Kind)
	}
	return kinds
}

// sentRequests returns all published requests.
func (b *fakeBus) sentRequests(t testing.TB) []wire.Request {
	t.Helper()
	var requests []wire.Request
	for _, sent := range b.sent() {
		if envelope, err := wire.ParseEnvelope(sent.frame); err == nil && envelope.Kind == wire.KindRequest {
			request, err := wire.ParseRequest(envelope.Value)
			require.NoError(t, err)
			requests = append(requests, request)
		}
	}
	return requests
}

type fakeSubscription struct {
	bus.Subscription

	once   sync.Once
	closed func()
}

func (s *fakeSubscription) Close() {
	s.Subscription.Close()
	s.once.Do(s.closed)
}

// capturedLog is a slog.Handler that stores the log records.
type capturedLog struct {
	// level is the lowest level that is stored.
	level   slog.Level
	mu      sync.Mutex
	records []slog.Record
}

func (l *capturedLog) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level }
func (l *capturedLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *capturedLog) WithGroup(string) slog.Handler                    { return l }

func (l *capturedLog) Handle(_ context.Context, record slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, record.Clone())
	return nil
}

// errors is like all, but leaves out records below the level error.
func (l *capturedLog) errors() []map[string]any {
	return slices.DeleteFunc(l.all(), func(record map[string]any) bool {
		return record["level"].(slog.Level) < slog.LevelError
	})
}

// all returns the attributes of each record, with its message under "msg" and its level under
// "level".
func (l *capturedLog) all() []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for _, record := range l.records {
		attributes := map[string]any{"msg": record.Message, "level": record.Level}
		record.Attrs(func(attribute slog.Attr) bool {
			attributes[attribute.Key] = attribute.Value.Any()
			return true
		})
		all = append(all, attributes)
	}
	return all
}
