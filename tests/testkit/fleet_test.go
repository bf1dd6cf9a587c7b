package testkit_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// This is the test in the package comment.
func TestEcho(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		fleet := testkit.NewFleet(t, network, testkit.Servers(3))
		response, err := fleet.Caller("NormalRPC").Call(t.Context(), &api.MyRequest{Name: "Ann"})
		require.NoError(t, err)
		assert.Equal(t, "Ann", response.GetText())
	})
}

func TestFleet_Changes(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		handlers := dynamic.Handlers{"GetStats": dynamic.Unary(testkit.Echo)}
		fleet := testkit.NewFleet(t, network, testkit.Servers(2), testkit.Handlers(handlers))
		fleet.Join()
		fleet.Leave()
		fleet.Dial()
		require.Len(t, fleet.Registrations, 2)
		answered := map[string]bool{}
		for response := range fleet.Caller("GetStats").Responses(t.Context(), &api.MyRequest{}) {
			require.NoError(t, response.Err)
			answered[response.ServerID] = true
		}
		assert.Equal(t, map[string]bool{fleet.Servers[0].ID(): true, fleet.Servers[1].ID(): true}, answered)
	})
}
