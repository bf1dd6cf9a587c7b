package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // registers the driver for NATS URLs
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/e2e"
)

// natsNetwork starts a NATS server and returns a network that uses it. query is appended to the URL
// that the buses are opened with.
func natsNetwork(tb testing.TB, query string) e2e.Network {
	tb.Helper()
	url := testenv.NATSProcess(tb).URL() + query
	return e2e.Network{
		Connect: func(tb testing.TB) bus.Bus {
			b, err := bus.Open(tb.Context(), url)
			require.NoError(tb, err)
			return b
		},
		NoticesSilence: true,
	}
}

func TestNATS(t *testing.T) {
	e2e.Run(t, natsNetwork(t, ""))
}

func TestNATS_WithPrefix(t *testing.T) {
	e2e.Run(t, natsNetwork(t, "?prefix=staging."))
}

func BenchmarkNATS(b *testing.B) { e2e.Benchmark(b, natsNetwork(b, "")) }
