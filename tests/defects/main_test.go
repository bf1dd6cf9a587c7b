package defects

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

func TestMain(m *testing.M) {
	scene.Quiet()
	goleak.VerifyTestMain(m)
}

const (
	// rounds is how often tests do what must not fail.
	rounds = 100
	// atOnce is a lot longer than what happens at once takes, and a lot shorter than the timeout of
	// patient.
	atOnce = 5 * time.Second
)

// patient makes calls wait so long that a test notices if they do.
var patient = dynamic.WithRequestTimeout(scene.Patience)

// serveOne returns a conn, and serves the calls and the stream on another bus.
func serveOne(t *testing.T, network scene.Network) (*dynamic.Conn, *dynamic.Registration) {
	t.Helper()
	_, registration := scene.Serve(t, network.Connect(t), dynamic.Handlers{
		"NormalRPC": dynamic.Unary(scene.Echo), "IntensiveRPC": dynamic.Unary(scene.Echo),
		"GetStats": dynamic.Unary(scene.Echo), "MoveRegion": dynamic.Unary(scene.Echo),
		"UpdateRoom": dynamic.Unary(scene.Echo), "ExchangeUpdates": dynamic.Stream(scene.EchoStream),
	})
	return scene.Conn(t, network.Connect(t)), registration
}

// requireCalls requires that a client works.
func requireCalls(t *testing.T, client *dynamic.Client[*api.MyRequest, *api.MyResponse], times int) {
	t.Helper()
	for range times {
		_, err := client.Call(t.Context(), &api.MyRequest{}, patient)
		require.NoError(t, err)
	}
}

// requireWorking requires that a conn works.
func requireWorking(t *testing.T, conn *dynamic.Conn) {
	t.Helper()
	for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
		requireCalls(t, scene.Caller(t, conn, method), 3)
	}
}

// requireCode requires an error with a code, and that it came at once.
func requireCode(t *testing.T, code errors.ErrorCode, err error, started time.Time) {
	t.Helper()
	require.Equal(t, code, scene.Code(err), "%v", err)
	require.Less(t, time.Since(started), atOnce, "%v", err)
}

// publish publishes an update from the conn of a client: with a server there, one that does not
// subscribe to the method itself would be in the service's queue on NATS, see the second defect.
func publish(t *testing.T, conn *dynamic.Conn, method string) error {
	t.Helper()
	return dynamic.Publish(t.Context(), conn, scene.Method(method), &api.MyUpdate{Id: "update"})
}
