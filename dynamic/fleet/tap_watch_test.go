package fleet

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func stringValue(s string) protoreflect.Value { return protoreflect.ValueOfString(s) }
func bytesValue(b []byte) protoreflect.Value  { return protoreflect.ValueOfBytes(b) }

// newTestWatch returns a watch with the default options of a server.
func newTestWatch(t testing.TB, request *TapRequest, opts ...TapOption) *watch {
	t.Helper()
	w, err := newWatch(request, newTapOptions(opts))
	require.NoError(t, err)
	return w
}

// drain returns all waiting events.
func (w *watch) drain() (events []*TapEvent) {
	for e := w.next(context.Background()); e != nil; e = w.next(context.Background()) {
		events = append(events, e)
	}
	return events
}

func TestWatch_LimitsEventsPerSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		method := shopMethod(t, tapRegistry(t), "Get")
		w := newTestWatch(t, &TapRequest{MaxPerSecond: 3})
		offer := func(n int) {
			for range n {
				w.offer(&dynamic.Traffic{Kind: dynamic.TrafficRequest, Method: method, RequestID: []byte("REQ_1")})
			}
		}
		offer(10)
		events := w.drain()
		require.Len(t, events, 3)
		assert.EqualValues(t, 7, events[0].Missed, "the events that were left out are counted")
		offer(10)
		require.Empty(t, w.drain())
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		offer(1)
		assert.EqualValues(t, 10, w.drain()[0].Missed)
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		offer(1)
		assert.Zero(t, w.drain()[0].Missed)
	})
}

// If next is not called, the waiting events must not use memory without limit.
func TestWatch_LimitsWaitingEvents(t *testing.T) {
	t.Parallel()
	method := shopMethod(t, tapRegistry(t), "Get")
	large := orderOf(t, method, fmt.Sprintf(`{"shown":"%060000d"}`, 0))
	w := newTestWatch(t, &TapRequest{MaxPerSecond: MaxTapRate, Payloads: true, MaxBytes: 1 << 30})
	for range 200 {
		w.offer(&dynamic.Traffic{Kind: dynamic.TrafficRequest, Method: method, Encoded: large})
	}
	assert.LessOrEqual(t, w.waitingBytes, maxTapQueueBytes+len(large))
	assert.Less(t, len(w.drain()), 40)

	small := newTestWatch(t, &TapRequest{MaxPerSecond: MaxTapRate})
	for range 5000 {
		small.offer(&dynamic.Traffic{Kind: dynamic.TrafficRequest, Method: method})
	}
	assert.LessOrEqual(t, len(small.drain()), maxTapQueue)
}

// A client chooses its IDs and metadata. However long they are, the events must stay small.
func TestWatch_CutsTexts(t *testing.T) {
	t.Parallel()
	w := newTestWatch(t, &TapRequest{})
	long := strings.Repeat("x", 1<<20)
	w.offer(&dynamic.Traffic{
		Kind: dynamic.TrafficRequest, Method: shopMethod(t, tapRegistry(t), "Get"), ClientID: long, RequestID: []byte(long),
		Metadata: map[string]string{"traceparent": long},
	})
	events := w.drain()
	require.Len(t, events, 1)
	assert.Len(t, events[0].ClientID, maxTapText)
	assert.Len(t, events[0].RequestID, maxTapText)
	assert.Len(t, events[0].Metadata["traceparent"], maxTapText)
	_, err := newWatch(&TapRequest{Methods: []string{long}}, newTapOptions(nil))
	requireCode(t, errors.InvalidArgument, err)
}

// A filter that is slower than the traffic must not keep the server busy, nor keep the tap from
// ending.
func TestWatch_SlowFilter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		evaluated := 0
		slow := Filters(func(string) (TapFilter, error) {
			return func(*TapEvent, protoreflect.Message) bool {
				evaluated++
				time.Sleep(200 * time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
				return evaluated > 2
			}, nil
		})
		method := shopMethod(t, tapRegistry(t), "Get")
		w := newTestWatch(t, &TapRequest{Filter: "slow"}, slow)
		offer := func() {
			for range 50 {
				w.offer(&dynamic.Traffic{Kind: dynamic.TrafficRequest, Method: method})
			}
		}
		offer()
		require.Nil(t, w.next(ctx))
		assert.Equal(t, 2, evaluated, "the others have exceeded the time")
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		offer()
		event := w.next(ctx)
		require.NotNil(t, event, "after a pause, there is time again")
		assert.EqualValues(t, 48, event.Missed)
		cancel()
		require.Nil(t, w.next(ctx))
		assert.Equal(t, 3, evaluated)
		assert.NotEmpty(t, w.waiting, "the tap has ended although events wait")
	})
}

func TestWatch_Payloads(t *testing.T) {
	t.Parallel()
	method := shopMethod(t, tapRegistry(t), "Get")
	encoded := orderOf(t, method, `{"id":7,"card":{"number":"4111","owner":"Ada"}}`)
	request := &dynamic.Traffic{
		Kind: dynamic.TrafficRequest, Method: method, Encoded: encoded,
		Metadata: map[string]string{"Authorization": "Bearer x", "traceparent": "00-1", "user": "Ada"},
	}
	show := func(request *TapRequest, traffic *dynamic.Traffic, opts ...TapOption) *TapEvent {
		w := newTestWatch(t, request, opts...)
		w.offer(traffic)
		events := w.drain()
		require.Len(t, events, 1)
		return events[0]
	}
	event := show(&TapRequest{}, request)
	assert.Empty(t, event.Payload, "payloads are shown only if they are asked for")
	assert.Equal(t, map[string]string{"traceparent": "00-1"}, event.Metadata)

	event = show(&TapRequest{Payloads: true}, request, TapMetadata("USER", "Authorization"))
	assert.Contains(t, string(event.Payload), "[redacted]")
	assert.NotContains(t, string(event.Payload), "4111")
	assert.Equal(t, map[string]string{"user": "Ada"}, event.Metadata, "authorization is never shown")
	assert.EqualValues(t, len(encoded), event.Size)

	event = show(&TapRequest{Payloads: true, MaxBytes: 5}, request)
	assert.Empty(t, event.Payload)
	assert.EqualValues(t, len(encoded), event.Size)

	event = show(&TapRequest{Payloads: true}, &dynamic.Traffic{Kind: dynamic.TrafficRequest, Method: method, Encoded: []byte("\x0a\xff")})
	assert.Empty(t, event.Payload, "a message that cannot be decoded cannot be redacted")
}

func TestWatch_MethodsAndSample(t *testing.T) {
	t.Parallel()
	reg := tapRegistry(t)
	get, pay := shopMethod(t, reg, "Get"), shopMethod(t, reg, "Pay")
	for patterns, want := range map[string][2]bool{
		"": {true, true}, "Orders/*": {true, true}, "Orders/Get": {true, false}, "shop.Orders/P*": {false, true},
		"*/Pay": {false, true}, "Orders": {true, true}, "*": {true, true}, "Other/*": {false, false}, "orders/Get": {false, false},
	} {
		var methods []string
		if patterns != "" {
			methods = []string{patterns}
		}
		w := newTestWatch(t, &TapRequest{Methods: methods})
		assert.Equal(t, want, [2]bool{w.wants(get), w.wants(pay)}, patterns)
	}

	sampled := 0
	for i := range 10_000 {
		id := fmt.Appendf(nil, "REQ_%06d", i)
		if isSampled(id, 0.1) {
			sampled++
			assert.True(t, isSampled(id, 0.1), "a request is either in the sample or not")
			assert.True(t, isSampled(id, 0.2), "a larger sample contains a smaller one")
		}
	}
	assert.InDelta(t, 1000, sampled, 150)
}

func TestWatch_Filter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		method := shopMethod(t, tapRegistry(t), "Get")
		id := method.Input().Fields().ByName("id")
		even := Filters(func(expression string) (TapFilter, error) {
			if expression != "even" {
				return nil, errors.NewErrorf(errors.InvalidArgument, "what is that?")
			}
			return func(_ *TapEvent, message protoreflect.Message) bool { return message.Get(id).Int()%2 == 0 }, nil
		})
		w := newTestWatch(t, &TapRequest{Filter: "even", MaxPerSecond: 3}, even)
		for i := range 100 {
			w.offer(&dynamic.Traffic{
				Kind: dynamic.TrafficRequest, Method: method, Encoded: orderOf(t, method, fmt.Sprintf(`{"id":%d}`, i+1)),
			})
		}
		events := w.drain()
		require.Len(t, events, 3)
		missed := w.missed
		for _, e := range events {
			assert.Empty(t, e.Payload, "the filter sees payloads, but the client has not asked for them")
			missed += e.Missed
		}
		assert.EqualValues(t, 27+40, missed, "27 of those examined matched too, and 40 were not examined")
	})
	_, err := newWatch(&TapRequest{Filter: "true"}, newTapOptions(nil))
	requireCode(t, errors.Unimplemented, err)
	for _, wrong := range []*TapRequest{
		{Sample: -1}, {Sample: 1.5}, {Methods: []string{"[a"}}, {Methods: make([]string, 100)},
	} {
		_, err := newWatch(wrong, newTapOptions(nil))
		requireCode(t, errors.InvalidArgument, err)
	}
}
