package dynamic_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// recordedTap records the traffic of a server.
type recordedTap struct {
	mu      sync.Mutex
	traffic []dynamic.Traffic
}

func (r *recordedTap) record(t *dynamic.Traffic) {
	copied := *t
	copied.RequestID, copied.Encoded = slices.Clone(t.RequestID), slices.Clone(t.Encoded)
	if t.Message != nil {
		copied.Encoded, _ = proto.Marshal(t.Message)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traffic = append(r.traffic, copied)
}

// await waits until an event of each kind has been recorded, in any order, and returns the events.
func (r *recordedTap) await(t *testing.T, kinds ...dynamic.TrafficKind) map[dynamic.TrafficKind]dynamic.Traffic {
	t.Helper()
	events := map[dynamic.TrafficKind]dynamic.Traffic{}
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.traffic) >= len(kinds)
	}, 10*time.Second, time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []dynamic.TrafficKind
	for _, event := range r.traffic {
		got = append(got, event.Kind)
		events[event.Kind] = event
	}
	require.ElementsMatch(t, kinds, got)
	r.traffic = nil
	return events
}

func bodyOf(t *testing.T, event dynamic.Traffic) string {
	t.Helper()
	value := &wrapperspb.StringValue{}
	require.NoError(t, proto.Unmarshal(event.Encoded, value))
	return value.GetValue()
}

func TestServer_SetTap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newVersionsWorld(t, bus.NewLocal())
		fail := func(_ context.Context, request text) (text, error) {
			if request.GetValue() == "panic" {
				panic("on purpose")
			}
			return nil, errors.NewErrorf(errors.NotFound, "nothing there")
		}
		w.replace(t, versionWith(1, dynamic.Handlers{
			"Queue": dynamic.Unary(func(context.Context, text) (text, error) {
				<-time.After(time.Millisecond)
				return say("1"), nil
			}),
			"Direct": dynamic.Unary(fail), "Best": dynamic.Unary(echoHandler, dynamic.WithAffinity(func(context.Context, text) float32 { return 0.5 })),
		}))
		tap := &recordedTap{}
		w.server.SetTap(tap.record)

		_, err := w.call(t, versionsQueue, "hi", dynamic.WithMetadata(map[string]string{"user": "Ada"}))
		require.NoError(t, err)
		events := tap.await(t, dynamic.TrafficRequest, dynamic.TrafficResponse)
		request, response := events[dynamic.TrafficRequest], events[dynamic.TrafficResponse]
		assert.Equal(t, "versions.Versions/Queue", request.Method.FullName())
		assert.Equal(t, map[string]string{"user": "Ada"}, request.Metadata)
		assert.NotEmpty(t, request.ClientID)
		assert.NotEmpty(t, request.RequestID)
		assert.Equal(t, request.RequestID, response.RequestID)
		assert.Equal(t, "hi", bodyOf(t, request))
		assert.Equal(t, "1", bodyOf(t, response))
		assert.Equal(t, time.Millisecond, response.Duration)

		for body, code := range map[string]errors.ErrorCode{"": errors.NotFound, "panic": errors.Internal} {
			_, err = w.call(t, versionsDirect, body)
			requireCode(t, code, err)
			events = tap.await(t, dynamic.TrafficRequest, dynamic.TrafficError)
			assert.Equal(t, code, events[dynamic.TrafficError].Code)
		}

		_, err = w.call(t, versionsBest, "hi")
		require.NoError(t, err)
		events = tap.await(t, dynamic.TrafficClaim, dynamic.TrafficRequest, dynamic.TrafficResponse)
		assert.InDelta(t, 0.5, events[dynamic.TrafficClaim].Affinity, 0)

		require.NoError(t, w.service.RegisterTopic("Region", "eu"))
		_, err = w.call(t, versionsRegion, "", dynamic.WithTopic("eu"))
		require.NoError(t, err)
		events = tap.await(t, dynamic.TrafficRequest, dynamic.TrafficResponse)
		assert.Equal(t, []string{"eu"}, events[dynamic.TrafficResponse].Topic)

		stream := w.openFlow(t)
		requireStream(t, 1, stream)
		require.NoError(t, stream.Close(nil))
		requireClosed(t, stream.Channel())
		events = tap.await(t, dynamic.TrafficOpen, dynamic.TrafficMessageIn, dynamic.TrafficMessageOut, dynamic.TrafficClose)
		assert.Equal(t, "1", bodyOf(t, events[dynamic.TrafficMessageOut]))
		assert.Empty(t, events[dynamic.TrafficClose].Code)
		for _, event := range events {
			assert.Equal(t, events[dynamic.TrafficOpen].RequestID, event.RequestID, "all events of a stream have its ID")
			assert.NotEmpty(t, event.ClientID)
		}

		w.server.SetTap(nil)
		_, err = w.call(t, versionsQueue, "hi")
		require.NoError(t, err)
		tap.await(t)
	})
}

func TestServer_SetTap_Updates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registration, err := w.server.Register(descriptor(t, w.registry, "test.Updates"), nil)
	require.NoError(t, err)
	tap := &recordedTap{}
	w.server.SetTap(tap.record)
	require.NoError(t, registration.Publish(t.Context(), "Changed", dynamicpb.NewMessage(registration.Service().Methods()[0].Output())))
	assert.Equal(t, "test.Updates/Changed", tap.await(t, dynamic.TrafficUpdate)[dynamic.TrafficUpdate].Method.FullName())
}

// BenchmarkServer_Tap shows what a call costs with and without a tap.
func BenchmarkServer_Tap(b *testing.B) {
	for _, tapped := range []bool{false, true} {
		b.Run(fmt.Sprintf("tapped=%v", tapped), func(b *testing.B) {
			w := newWorld(b)
			w.serve(b, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)})
			if tapped {
				w.server.SetTap(func(*dynamic.Traffic) {})
			}
			client, request := textClient(b, w.conn, echo), wrapperspb.String("hi")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Call(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
