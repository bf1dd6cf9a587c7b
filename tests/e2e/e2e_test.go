package e2e_test

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/tests/e2e"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// local is the in-process network: one bus for all that a test connects.
func local() e2e.Network {
	var networks sync.Map // by test
	return e2e.Network{
		Connect: func(t testing.TB) bus.Bus {
			b, known := networks.LoadOrStore(t, bus.NewLocal())
			if !known {
				t.Cleanup(func() { networks.Delete(t) }) // a benchmark runs several times
			}
			return b.(bus.Bus)
		},
		CountsReceivers: true,
		NoticesSilence:  true,
	}
}

func TestLocal(t *testing.T) { e2e.Run(t, local()) }

func BenchmarkLocal(b *testing.B) { e2e.Benchmark(b, local()) }
