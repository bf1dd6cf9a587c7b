package regression

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

func TestMain(m *testing.M) {
	testkit.Quiet()
	goleak.VerifyTestMain(m)
}

const (
	// rounds is the number of times that tests repeat an operation that must succeed.
	rounds = 100
	// atOnce is the time limit for operations that must end immediately. It is long enough for a
	// busy machine, but much shorter than the timeout patient.
	atOnce = testkit.Patience / 2
)

// patient is a call option. It sets a timeout that no call may reach: if a call waits for it, the
// test fails.
var patient = dynamic.WithRequestTimeout(testkit.Patience)

// requireCalls requires that the given number of calls succeed.
func requireCalls(t *testing.T, client *dynamic.Client[*api.MyRequest, *api.MyResponse], times int) {
	t.Helper()
	for range times {
		_, err := client.Call(t.Context(), &api.MyRequest{}, patient)
		require.NoError(t, err)
	}
}

// requireWorking requires that calls on a conn succeed.
func requireWorking(t *testing.T, conn *dynamic.Conn) {
	t.Helper()
	for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
		requireCalls(t, testkit.Caller(t, conn, method), 3)
	}
}

// requireCode requires that an error has the given code, and that no more than atOnce has passed
// since the start of the operation.
func requireCode(t *testing.T, code errors.ErrorCode, err error, started time.Time) {
	t.Helper()
	require.Equal(t, code, testkit.Code(err), "%v", err)
	require.Less(t, time.Since(started), atOnce, "%v", err)
}

// publish publishes an update with a conn that belongs to a client. If a server published it, the
// server's bus would be a member of the service's queue group on NATS. It could then receive the
// update instead of a subscriber; see defect 2.
func publish(t *testing.T, conn *dynamic.Conn, method string) error {
	t.Helper()
	return dynamic.Publish(t.Context(), conn, testkit.Method(method), &api.MyUpdate{Id: "update"})
}
