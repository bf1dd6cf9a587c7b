package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// tapWorld holds a server of shop.Orders that can be watched, and a conn that watches it.
type tapWorld struct {
	registry *registry.Registry
	server   *dynamic.Server
	service  *dynamic.Registration
	status   *Status
	watches  *watches
	conn     *dynamic.Conn
	fleet    *Fleet
	log      *lockedBuffer
}

// lockedBuffer is a bytes.Buffer for a logger.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// newTapWorld returns a tapWorld whose server permits taps if authorize returns nil.
func newTapWorld(t testing.TB, b bus.Bus, authorize func(ctx context.Context) error, opts ...TapOption) *tapWorld {
	t.Helper()
	w := &tapWorld{registry: tapRegistry(t), log: &lockedBuffer{}}
	logger := dynamic.WithLogger(slog.New(slog.NewTextHandler(w.log, nil)))
	w.server = dynamic.NewServer(b, dynamic.WithServerID("SRV_tapped"), logger)
	var err error
	w.status, err = Serve(w.server, WithTap(opts...), WithAuthorize(func(ctx context.Context, verb Verb) error {
		require.Equal(t, VerbTap, verb)
		return authorize(ctx)
	}))
	require.NoError(t, err)
	w.watches = &w.status.watches
	service, err := w.registry.FindService("shop.Orders")
	require.NoError(t, err)
	w.service, err = w.server.Register(service, dynamic.Handlers{"Get": dynamic.Unary(getOrder), "All": dynamic.Unary(getOrder)}, dynamic.AllowMissing())
	require.NoError(t, err)
	w.conn, err = dynamic.NewConn(b, w.registry, logger, patientConn)
	require.NoError(t, err)
	w.fleet = patientFleet(t, w.conn)
	t.Cleanup(func() {
		require.NoError(t, w.conn.Close())
		require.NoError(t, w.status.Close())
		require.NoError(t, w.server.Shutdown(context.Background()))
		require.NoError(t, b.Close())
	})
	return w
}

func getOrder(_ context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
	if request.Get(request.Descriptor().Fields().ByName("id")).Int() == 404 {
		return nil, errors.NewErrorf(errors.NotFound, "no such order")
	}
	return request, nil
}

func (w *tapWorld) get(t testing.TB, order string) error {
	t.Helper()
	_, err := dynamic.Invoke(t.Context(), w.conn, "shop.Orders/Get", json.RawMessage(order))
	return err
}

// awaitWatched waits until the given number of clients watch the server.
func (w *tapWorld) awaitWatched(t testing.TB, clients int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.watches.all()) == clients }, 10*time.Second, time.Millisecond)
}

func permitted(context.Context) error { return nil }

func nextEvent(t testing.TB, stream *TapStream) *TapEvent {
	t.Helper()
	select {
	case event, open := <-stream.Channel():
		require.True(t, open, "the stream has ended: %v", stream.Err())
		return event
	case <-time.After(10 * time.Second):
		require.FailNow(t, "no event")
		return nil
	}
}

func requireEnded(t testing.TB, stream *TapStream) {
	t.Helper()
	select {
	case _, open := <-stream.Channel():
		require.False(t, open)
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the stream has not ended")
	}
}

func TestTap(t *testing.T) {
	t.Parallel()
	w := newTapWorld(t, bus.NewLocal(), permitted, Redact("shop.secret"))
	stream, err := w.fleet.Tap(t.Context(), "SRV_tapped", TapRequest{Payloads: true})
	require.NoError(t, err)
	w.awaitWatched(t, 1)
	require.NoError(t, w.get(t, `{"id":7,"token":"s3cret","card":{"number":"4111","owner":"Ada"}}`))
	request, response := nextEvent(t, stream), nextEvent(t, stream)
	assert.Equal(t, TapRequested, request.Kind)
	assert.Equal(t, TapResponse, response.Kind)
	assert.Equal(t, request.RequestID, response.RequestID)
	assert.Positive(t, response.Duration)
	for _, event := range []*TapEvent{request, response} {
		assert.Equal(t, "Orders/Get", event.Method)
		assert.Equal(t, "SRV_tapped", event.ServerID)
		assert.NotEmpty(t, event.ClientID)
		order := dynamicpb.NewMessage(shopMethod(t, w.registry, "Get").Input())
		require.NoError(t, proto.Unmarshal(event.Payload, order))
		assert.EqualValues(t, 7, order.Get(order.Descriptor().Fields().ByName("id")).Int())
		for _, secret := range []string{"4111", "s3cret"} {
			assert.NotContains(t, string(event.Payload), secret)
		}
	}
	require.Error(t, w.get(t, `{"id":404}`))
	nextEvent(t, stream)
	failed := nextEvent(t, stream)
	assert.Equal(t, TapError, failed.Kind)
	assert.Equal(t, errors.NotFound, failed.Code)

	require.NoError(t, stream.Close())
	requireEnded(t, stream)
	require.NoError(t, stream.Err())
	w.awaitWatched(t, 0)
	log := w.log.String()
	assert.Contains(t, log, "a client watches the traffic of this server")
	assert.Contains(t, log, "client=CLI_")
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), "has stopped watching") }, 10*time.Second, time.Millisecond)
}

func TestTap_Errors(t *testing.T) {
	t.Parallel()
	w := newTapWorld(t, bus.NewLocal(), func(ctx context.Context) error {
		if info, _ := dynamic.RequestInfoFromContext(ctx); info.Metadata["user"] != "Ada" {
			return errors.NewErrorf(errors.PermissionDenied, "only Ada may watch")
		}
		return nil
	})
	ada := dynamic.ContextWithMetadata(t.Context(), map[string]string{"user": "Ada"})
	for _, tt := range []struct {
		ctx     context.Context
		request TapRequest
		code    errors.ErrorCode
	}{
		{t.Context(), TapRequest{}, errors.PermissionDenied},
		{ada, TapRequest{Sample: 2}, errors.InvalidArgument},
		{ada, TapRequest{Filter: "true"}, errors.Unimplemented},
	} {
		stream, err := w.fleet.Tap(tt.ctx, "SRV_tapped", tt.request)
		if err == nil {
			requireEnded(t, stream)
			err = stream.Err()
		}
		requireCode(t, tt.code, err)
	}
	require.Empty(t, w.watches.all())

	var streams []*TapStream
	for range MaxTaps {
		stream, err := w.fleet.Tap(ada, "SRV_tapped", TapRequest{})
		require.NoError(t, err)
		streams = append(streams, stream)
	}
	w.awaitWatched(t, MaxTaps)
	stream, err := w.fleet.Tap(ada, "SRV_tapped", TapRequest{})
	require.NoError(t, err)
	requireEnded(t, stream)
	requireCode(t, errors.ResourceExhausted, stream.Err())
	for _, stream := range streams {
		require.NoError(t, stream.Close())
	}
	_, err = w.fleet.TapServers(ada, make([]string, MaxTapped+1), TapRequest{})
	requireCode(t, errors.InvalidArgument, err)
	_, err = w.fleet.Tap(ada, "SRV_other", TapRequest{})
	require.Error(t, err)
}

// A client that reads no events must not delay the calls of the server.
func TestTap_SlowReader(t *testing.T) {
	t.Parallel()
	w := newTapWorld(t, bus.NewLocal(), permitted)
	stream, err := w.fleet.Tap(t.Context(), "SRV_tapped", TapRequest{MaxPerSecond: MaxTapRate})
	require.NoError(t, err)
	w.awaitWatched(t, 1)
	started := time.Now()
	for i := range 1500 {
		require.NoError(t, w.get(t, fmt.Sprintf(`{"id":%d}`, i+1000)))
	}
	assert.Less(t, time.Since(started), time.Minute)
	require.NoError(t, stream.Close())
}

// A tap must not change when calls end: a call without servers still fails at once, and a multi
// call still ends with the last answer.
func TestTap_ChangesNothing(t *testing.T) {
	t.Parallel()
	for name, connect := range networks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := connect(t)
			w := newTapWorld(t, open(), permitted)
			watching := newFleet(t, open())
			stream, err := watching.Tap(t.Context(), "SRV_tapped", TapRequest{})
			require.NoError(t, err)
			w.awaitWatched(t, 1)
			all := func() (answers int, err error) {
				responses, err := dynamic.InvokeMulti(t.Context(), w.conn, "shop.Orders/All", nil, dynamic.WithRequestTimeout(time.Minute))
				require.NoError(t, err)
				for response := range responses {
					if response.Err != nil {
						return answers, response.Err
					}
					answers++
				}
				return answers, nil
			}
			started := time.Now()
			for range 3 {
				answers, err := all()
				require.NoError(t, err)
				require.Equal(t, 1, answers)
			}
			require.NoError(t, w.server.Drain(t.Context()))
			err = w.get(t, `{}`)
			facts, _ := errors.FactsOf(err)
			require.Equal(t, errors.ReasonNobodyListening, facts.Reason, "%v", err)
			_, err = all()
			require.Error(t, err)
			assert.Less(t, time.Since(started), 20*time.Second, "no call has waited for its timeout")
			require.NoError(t, stream.Close())
		})
	}
}
