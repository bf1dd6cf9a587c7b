package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // the driver for nats://
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/e2e"
)

// natsNetwork is a NATS server of the test's own. query is that of the URL with which buses are
// opened.
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
