package e2e

import "testing"

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
