package metrics_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is an observer that keeps all measurements in memory.
type recorder struct {
	mu     sync.Mutex
	values map[string][]float64 // measured values, keyed by the name of the metric and its labels
	wrong  []string
}

func newRecorder() *recorder { return &recorder{values: map[string][]float64{}} }

func (r *recorder) Observe(_ context.Context, instrument *metrics.Instrument, value float64, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(labels) != len(instrument.Keys) {
		r.wrong = append(r.wrong, instrument.Name)
	}
	name := instrument.Name
	for i, label := range labels {
		if key := instrument.Keys[i]; key == "error.type" && label != "" && label != labels[i-1] {
			r.wrong = append(r.wrong, label)
		} else if key != "error.type" && key != "rpc.system.name" {
			name += " " + label
		}
	}
	r.values[name] = append(r.values[name], value)
}

// counts returns the number of measurements for each key. For the metrics of active calls, it
// returns the sum of the values instead.
func (r *recorder) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]int{}
	for key, values := range r.values {
		counts[key] = len(values)
		if strings.Contains(key, "active_calls") {
			counts[key] = 0
			for _, value := range values {
				counts[key] += int(value)
			}
		}
	}
	return counts
}

func (r *recorder) all(key string) []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.values[key])
}

// requireCounts waits until the number of measurements for each key is as expected.
func (r *recorder) requireCounts(t testing.TB, want map[string]int) {
	t.Helper()
	assert.Eventually(t, func() bool { return maps.Equal(want, r.counts()) }, waitFor, tick, "a server's stream ends in the background")
	assert.Equal(t, want, r.counts())
	r.mu.Lock()
	defer r.mu.Unlock()
	assert.Empty(t, r.wrong, "as many labels as keys")
}

func newService(t testing.TB, opts ...metrics.Option) (*kinds.World, *recorder) {
	t.Helper()
	r := newRecorder()
	return kinds.New(t, metrics.New(r, opts...), metrics.New(r, opts...)), r
}

func TestMetrics_Call(t *testing.T) {
	t.Parallel()
	w, r := newService(t)
	for range 2 {
		_, err := w.Call(t.Context(), kinds.One, "hi")
		require.NoError(t, err)
	}
	_, err := w.Call(t.Context(), kinds.One, "fail")
	require.Error(t, err)
	_, err = w.Call(t.Context(), kinds.One, "panic")
	require.Error(t, err)
	r.requireCounts(t, map[string]int{
		"rpc.client.call.duration kinds.All/One ok":        2,
		"rpc.client.call.duration kinds.All/One not_found": 1,
		"rpc.client.call.duration kinds.All/One internal":  1,
		"rpc.server.call.duration kinds.All/One ok":        2,
		"rpc.server.call.duration kinds.All/One not_found": 1,
		"rpc.server.call.duration kinds.All/One internal":  1,
		"rpc.client.request.size kinds.All/One":            4,
		"rpc.client.response.size kinds.All/One":           2,
		"rpc.server.request.size kinds.All/One":            4,
		"rpc.server.response.size kinds.All/One":           2,
		"dynpsrpc.client.active_calls kinds.All/One":       0,
		"dynpsrpc.server.active_calls kinds.All/One":       0,
	})
	size := float64(proto.Size(&kinds.Text{Value: "hi"}))
	assert.Equal(t, []float64{size, size}, r.all("rpc.client.response.size kinds.All/One"))
	assert.Equal(t, []float64{1, -1, 1, -1, 1, -1, 1, -1}, r.all("dynpsrpc.server.active_calls kinds.All/One"))
	duration := r.all("rpc.client.call.duration kinds.All/One ok")[0]
	assert.Positive(t, duration)
	assert.Less(t, duration, 20.0, "seconds")
}

func TestMetrics_Topics(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		opts []metrics.Option
		want string
	}{
		"without": {nil, "rpc.client.call.duration kinds.All/Region ok"},
		"with":    {[]metrics.Option{metrics.WithTopics()}, "rpc.client.call.duration kinds.All/Region eu ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := newService(t, tt.opts...)
			_, err := w.Call(t.Context(), kinds.Region, "hi", dynamic.WithTopic("eu"))
			require.NoError(t, err)
			assert.Len(t, r.all(tt.want), 1)
			assert.Empty(t, r.wrong)
		})
	}
}

// TestMetrics_UnknownCode checks that an unknown error code sent by a peer does not create another
// time series.
func TestMetrics_UnknownCode(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	makeUp := func(context.Context, proto.Message, dynamic.RPCInfo, dynamic.ServerRPCHandler) (proto.Message, error) {
		return nil, errors.NewErrorf("made_up", "no")
	}
	w := kinds.New(t, dynamic.WithServerRPCInterceptors(makeUp), metrics.New(r))
	_, err := w.Call(t.Context(), kinds.One, "hi")
	require.Error(t, err)
	assert.Len(t, r.all("rpc.client.call.duration kinds.All/One _OTHER"), 1)
}

func TestMetrics_Multi(t *testing.T) {
	t.Parallel()
	w, r := newService(t)
	for _, value := range []string{"hi", "fail"} {
		responses, err := w.CallEvery(t.Context(), value)
		require.NoError(t, err)
		require.Len(t, responses, 1)
	}
	r.requireCounts(t, map[string]int{
		"rpc.client.call.duration kinds.All/Every ok":               2,
		"rpc.server.call.duration kinds.All/Every ok":               1,
		"rpc.server.call.duration kinds.All/Every not_found":        1,
		"rpc.client.request.size kinds.All/Every":                   2,
		"rpc.client.response.size kinds.All/Every":                  1,
		"rpc.server.request.size kinds.All/Every":                   2,
		"rpc.server.response.size kinds.All/Every":                  1,
		"dynpsrpc.client.multi.responses kinds.All/Every ok":        1,
		"dynpsrpc.client.multi.responses kinds.All/Every not_found": 1,
		"dynpsrpc.client.active_calls kinds.All/Every":              0,
		"dynpsrpc.server.active_calls kinds.All/Every":              0,
	})
}

// TestMetrics_MultiFails checks that the error of a multi call itself is not counted as a response.
func TestMetrics_MultiFails(t *testing.T) {
	t.Parallel()
	w, r := newService(t)
	require.NoError(t, w.Service.Close(t.Context()))
	responses, err := w.CallEvery(t.Context(), "hi")
	require.NoError(t, err)
	require.Len(t, responses, 1)
	require.ErrorIs(t, responses[0].Err, errors.ErrNoResponse)
	require.NoError(t, w.Conn.Close())
	_, err = w.CallEvery(t.Context(), "hi")
	require.Error(t, err)
	r.requireCounts(t, map[string]int{
		"rpc.client.call.duration kinds.All/Every unavailable": 1,
		"rpc.client.request.size kinds.All/Every":              1,
		"dynpsrpc.client.active_calls kinds.All/Every":         0,
	})
}

// TestMetrics_MultiAttempts checks that a multi call whose request is sent twice is measured as one
// call.
func TestMetrics_MultiAttempts(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	again := dynamic.WithClientMultiRPCInterceptors(func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
		return twice{next}
	})
	w := kinds.New(t, dynamic.ServiceOptions(), dynamic.ConnOptions(again, metrics.New(r)))
	_, err := w.CallEvery(t.Context(), "hi")
	require.NoError(t, err)
	r.requireCounts(t, map[string]int{
		"rpc.client.call.duration kinds.All/Every ok":        1,
		"rpc.client.request.size kinds.All/Every":            2,
		"rpc.client.response.size kinds.All/Every":           1,
		"dynpsrpc.client.multi.responses kinds.All/Every ok": 1,
		"dynpsrpc.client.active_calls kinds.All/Every":       0,
	})
}

// twice is a handler that sends a request twice. The first time, it sends the request to a topic
// without servers, which must fail.
type twice struct{ dynamic.ClientMultiRPCHandler }

func (m twice) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	if err := m.ClientMultiRPCHandler.Send(ctx, request, dynamic.WithTopic("none")); err == nil {
		return errors.New("the first attempt should have failed")
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}

func TestMetrics_MultiInnerPanics(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	inner := dynamic.WithClientMultiRPCInterceptors(func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
		return panicking{next}
	})
	w := kinds.New(t, dynamic.ServiceOptions(), dynamic.ConnOptions(metrics.New(r), inner))
	assert.Panics(t, func() { _, _ = w.CallEvery(t.Context(), "hi") })
	r.requireCounts(t, map[string]int{
		"rpc.client.call.duration kinds.All/Every internal": 1,
		"rpc.client.request.size kinds.All/Every":           1,
		"dynpsrpc.client.active_calls kinds.All/Every":      0,
	})
}

type panicking struct{ dynamic.ClientMultiRPCHandler }

func (panicking) Send(context.Context, proto.Message, ...dynamic.RequestOption) error { panic("oh") }

func TestMetrics_Stream(t *testing.T) {
	t.Parallel()
	w, r := newService(t)
	stream := w.Open(t.Context(), t)
	assert.Equal(t, []float64{1}, r.all("dynpsrpc.client.active_calls kinds.All/Flow"))
	kinds.Exchange(t, stream, "a", "b", "c")
	require.NoError(t, stream.Close(nil))
	require.ErrorIs(t, stream.Close(nil), errors.ErrStreamClosed)
	failing := w.Open(t.Context(), t)
	require.NoError(t, failing.Send(&kinds.Text{Value: "fail"}))
	kinds.Soon(t, failing.Context().Done())
	r.requireCounts(t, map[string]int{
		"rpc.client.call.duration kinds.All/Flow ok":        1,
		"rpc.client.call.duration kinds.All/Flow not_found": 1,
		"rpc.server.call.duration kinds.All/Flow ok":        1,
		"rpc.server.call.duration kinds.All/Flow not_found": 1,
		"rpc.client.request.size kinds.All/Flow":            4,
		"rpc.client.response.size kinds.All/Flow":           3,
		"rpc.server.request.size kinds.All/Flow":            4,
		"rpc.server.response.size kinds.All/Flow":           3,
		"dynpsrpc.client.active_calls kinds.All/Flow":       0,
		"dynpsrpc.server.active_calls kinds.All/Flow":       0,
	})
}

func TestMetrics_StreamIsNotOpened(t *testing.T) {
	t.Parallel()
	w, r := newService(t)
	require.NoError(t, w.Service.Close(t.Context()))
	_, err := dynamic.InvokeStream(t.Context(), w.Conn, kinds.Flow)
	require.Error(t, err)
	r.requireCounts(t, map[string]int{
		"rpc.client.call.duration kinds.All/Flow unavailable": 1,
		"dynpsrpc.client.active_calls kinds.All/Flow":         0,
	})
}

func TestMetrics_Updates(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	refuse := dynamic.WithSubscriptionInterceptors(func(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
		return func(ctx context.Context, update proto.Message) error {
			if update.(*kinds.Text).GetValue() == "refuse" {
				return errors.NewErrorf(errors.PermissionDenied, "no")
			}
			return next(ctx, update)
		}
	})
	w := kinds.New(t, metrics.New(r), dynamic.ConnOptions(metrics.New(r), refuse))
	subscription := w.Subscribe(t.Context(), t)
	require.NoError(t, w.Service.Publish(t.Context(), "Feed", &kinds.Text{Value: "refuse"}))
	require.NoError(t, dynamic.Publish(t.Context(), w.Conn, kinds.Feed, &kinds.Text{Value: "hi"}))
	assert.Equal(t, "hi", kinds.Soon(t, subscription.Channel()).GetValue())
	r.requireCounts(t, map[string]int{
		"dynpsrpc.publish.duration kinds.All/Feed ok":                 2,
		"dynpsrpc.publish.size kinds.All/Feed":                        2,
		"dynpsrpc.delivery.duration kinds.All/Feed ok":                1,
		"dynpsrpc.delivery.duration kinds.All/Feed permission_denied": 1,
		"dynpsrpc.delivery.size kinds.All/Feed":                       2,
	})
}

func TestNew_WithMaxTopics(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	w := kinds.New(t, metrics.New(newRecorder()), metrics.New(r, metrics.WithMaxTopics(1)))
	for _, topic := range []string{"nowhere", "eu", "eu"} {
		_, _ = w.Call(t.Context(), kinds.Region, "hi", dynamic.WithTopic(topic))
	}
	assert.Len(t, r.all("rpc.client.call.duration kinds.All/Region _OTHER ok"), 2)
}
