package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

const (
	frameLimit = 64 << 10
	beyond     = 2 * frameLimit
)

// Publishing a frame that is larger than the limit of the bus must fail immediately. If a response
// is too large, the caller must also receive an error immediately.
func TestTooLarge_IsToldAtOnce(t *testing.T) {
	t.Parallel()
	testkit.OnEachWithLimit(t, frameLimit, testTooLarge)
}

func testTooLarge(t *testing.T, network testkit.Network) {
	inflate := dynamic.Unary(func(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
		return &api.MyResponse{Text: string(make([]byte, request.GetCount()))}, nil
	})
	answered := make(chan error, 1)
	_, registration := testkit.Serve(t, network.Connect(t), dynamic.Handlers{
		"NormalRPC": inflate, "IntensiveRPC": inflate, "GetStats": inflate,
		"ExchangeUpdates": dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
			answered <- stream.Send(&api.MyServerMessage{Text: string(make([]byte, beyond))})
			return nil
		}),
	})
	const timeout = time.Minute
	conn := testkit.Conn(t, network.Connect(t), dynamic.WithClientTimeout(timeout), dynamic.WithSelectionTimeout(timeout))
	tooLarge := func(err error) {
		t.Helper()
		assert.Equal(t, errors.ResourceExhausted, testkit.Code(err), "%v", err)
	}
	started := time.Now()
	for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
		client := testkit.Caller(t, conn, method)
		_, err := client.Call(t.Context(), &api.MyRequest{Count: beyond})
		tooLarge(err)
		_, err = client.Call(t.Context(), &api.MyRequest{Name: string(make([]byte, beyond))})
		tooLarge(err)
		_, err = client.Call(t.Context(), &api.MyRequest{Count: 1})
		require.NoError(t, err)
	}
	for response := range testkit.Caller(t, conn, "GetStats").Responses(
		t.Context(), &api.MyRequest{Count: beyond}, dynamic.WithExpectedResponses(1),
	) {
		tooLarge(response.Err)
	}
	stream, err := testkit.Streamer(t, conn).OpenStream(t.Context())
	require.NoError(t, err)
	tooLarge(testkit.Soon(t, answered, "the server's message"))
	_ = stream.Close(nil) // ignore the error, because the server may have closed the stream
	tooLarge(registration.Publish(t.Context(), "UpdateState", &api.MyUpdate{Id: string(make([]byte, beyond))}))
	assert.Less(t, time.Since(started), timeout/2, "nobody waited for a timeout")
}
