package e2e

import (
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Network describes the network on which the suite runs, and what its buses report.
type Network struct {
	// Connect returns a bus that is connected to the network. All buses returned for the same t
	// must be able to exchange frames. The suite calls Connect once for each server and once for
	// each client, and closes every bus that Connect returns. For an in-process network, Connect
	// may return the same bus each time. The suite then closes that bus more than once.
	Connect func(t testing.TB) bus.Bus
	// CountsReceivers says whether the delivery report of a frame contains the number of broadcast
	// subscriptions that received the frame.
	CountsReceivers bool
	// NoticesSilence reports whether a publisher is told that a channel has no subscribers.
	NoticesSilence bool
	// MixesChannels reports whether the frames of one publisher may arrive in a different order if
	// they were published on different channels.
	MixesChannels bool
}

// patience is the timeout for events that must happen. It is far longer than any of them takes in a
// passing test.
const patience = 20 * time.Second

// Run runs the suite on network, as subtests of t. It first runs the subtest ManyTopics, which
// counts goroutines and therefore must not run at the same time as other tests. Run then calls
// t.Parallel. The caller must not have called t.Parallel, because a test may call it only once.
func Run(t *testing.T, network Network) {
	t.Helper()
	t.Run("ManyTopics", func(t *testing.T) { testManyTopics(t, network) })
	t.Parallel()
	runParallel(t, network)
}

// RunEach runs the suite on several networks, as subtests of t that are named after the networks.
// As with [Run], the caller must not have called t.Parallel.
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

// runParallel runs all tests of the suite except ManyTopics as parallel subtests of t.
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

// Benchmark runs the benchmarks of the suite on network, as sub-benchmarks of b.
func Benchmark(b *testing.B, network Network) {
	b.Helper()
	b.Run("Affinity/servers=3", func(b *testing.B) { benchmarkAffinity(b, network) })
	b.Run("Multi/servers=3", func(b *testing.B) { benchmarkMulti(b, network) })
	b.Run("Isolation", func(b *testing.B) { benchmarkIsolation(b, network) })
}
