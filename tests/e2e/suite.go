package e2e

import (
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Network describes the bus under test.
type Network struct {
	// Connect returns a bus connected to the network. All buses returned for the same t reach each
	// other. A network that is limited to one process may return the same bus each time. The suite
	// calls Connect once per server and once per client, and closes each bus, possibly twice.
	Connect func(t testing.TB) bus.Bus
	// CountsReceivers says that delivery reports contain the number of broadcast subscriptions that
	// received a frame.
	CountsReceivers bool
	// NoticesSilence says that delivery reports show when a channel has no subscriber.
	NoticesSilence bool
	// MixesChannels says that the order of frames of one publisher is kept only within a channel.
	MixesChannels bool
}

// patience is the timeout for events that must happen. It is far longer than any passing test
// needs.
const patience = 20 * time.Second

// Run runs the suite against network, as subtests of t. Run calls t.Parallel, so t must not be
// parallel yet: the subtest ManyTopics counts goroutines and runs before that call, hence before
// all parallel tests.
func Run(t *testing.T, network Network) {
	t.Helper()
	t.Run("ManyTopics", func(t *testing.T) { testManyTopics(t, network) })
	t.Parallel()
	runParallel(t, network)
}

// RunEach runs the suite against several networks, as subtests of t with the names of the networks.
// As with Run, t must not be parallel yet.
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

// runParallel runs the suite except ManyTopics, as parallel subtests of t.
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
