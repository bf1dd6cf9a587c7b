package e2e

import (
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Network describes the bus under test.
type Network struct {
	// Connect returns a bus connected to the network. All buses that it returns to one t reach each other. They may
	// be one object, if only one process can be on such a network. Each server and each client of the suite connects
	// for itself. The suite closes the buses, perhaps twice.
	Connect func(t testing.TB) bus.Bus
	// CountsReceivers says that reports tell the number of plain subscriptions that got a frame.
	CountsReceivers bool
	// NoticesSilence says that reports tell when nobody listens on a channel.
	NoticesSilence bool
	// MixesChannels says that frames which one publisher sends on different channels may overtake each other.
	MixesChannels bool
}

// patience bounds the wait for what must happen; a test that passes does not come near it.
const patience = 20 * time.Second

// Run runs the suite against network, as subtests of t. It makes t a parallel test, so t must not be one yet: the
// subtest ManyTopics counts goroutines and runs before t becomes parallel, hence before all parallel tests.
func Run(t *testing.T, network Network) {
	t.Helper()
	t.Run("ManyTopics", func(t *testing.T) { testManyTopics(t, network) })
	t.Parallel()
	runParallel(t, network)
}

// RunEach runs the suite against several networks, as subtests of t with the names of the networks. As with Run, t
// must not be parallel yet.
func RunEach(t *testing.T, networks map[string]Network) {
	t.Helper()
	for name, network := range networks {
		t.Run("ManyTopics/"+name, func(t *testing.T) { testManyTopics(t, network) })
	}
	t.Parallel()
	for name, network := range networks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runParallel(t, network)
		})
	}
}

// runParallel runs all of the suite but ManyTopics, as parallel subtests of t.
func runParallel(t *testing.T, network Network) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Network){
		"MatrixCalls":         testMatrixCalls,
		"MatrixStreams":       testMatrixStreams,
		"MatrixSubscriptions": testMatrixSubscriptions,
		"MatrixInvoke":        testMatrixInvoke,
		"Failures":            testFailures,
		"Metadata":            testMetadata,
		"Cancellation":        testCancellation,
		"Deadlines":           testDeadlines,
		"Lifecycle":           testLifecycle,
		"Churn":               testChurn,
		"Isolation":           testIsolation,
		"WrongUse":            testWrongUse,
		"Forgery":             testForgery,
		"NobodyListening":     testNobodyListening,
		"Selection":           testSelection,
		"Interceptors":        testInterceptors,
		"Observed":            testObserved,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, network)
		})
	}
}

// Benchmark runs the suite's benchmarks against network, as sub-benchmarks of b.
func Benchmark(b *testing.B, network Network) {
	b.Helper()
	b.Run("Affinity/servers=3", func(b *testing.B) { benchmarkAffinity(b, network) })
	b.Run("Multi/servers=3", func(b *testing.B) { benchmarkMulti(b, network) })
	b.Run("Isolation", func(b *testing.B) { benchmarkIsolation(b, network) })
}
