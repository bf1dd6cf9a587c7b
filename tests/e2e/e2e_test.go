package e2e_test

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/tests/e2e"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// local returns an in-process network. All peers of a test share one bus.
func local() e2e.Network {
	var networks sync.Map // one bus for each test
	return e2e.Network{
		Connect: func(t testing.TB) bus.Bus {
			b, known := networks.LoadOrStore(t, bus.NewLocal())
			if !known {
				// A benchmark function runs several times with the same b, and each run needs a new
				// bus.
				t.Cleanup(func() { networks.Delete(t) })
			}
			return b.(bus.Bus)
		},
		CountsReceivers: true,
		NoticesSilence:  true,
	}
}

func TestLocal(t *testing.T) { e2e.Run(t, local()) }

func BenchmarkLocal(b *testing.B) { e2e.Benchmark(b, local()) }
