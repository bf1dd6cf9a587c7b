package main

import (
	"fmt"
	"time"
)

// row is one benchmark. Its results are printed as one row of a table.
type row struct {
	bus    string
	size   size
	name   string
	system system
	// limits lists the names of the benchmarks to which this benchmark is compared. They have the
	// same bus and message size.
	limits []string
	// open sets up the servers and clients of the benchmark. It returns a function that runs the
	// operations.
	open func(s *scene) load
	// rival is like open, but uses psrpc. It is nil if psrpc cannot run this benchmark.
	rival func(s *scene) load
	// clientOnly reports whether the servers run in another process.
	clientOnly bool
}

// system is the library or the transport that a benchmark measures.
type system string

const (
	onBare     system = "bare" // a raw transport without dynpsrpc
	onDynpsrpc system = "dynpsrpc"
	onPSRPC    system = "psrpc"
)

func (r *row) key() string { return r.keyOf(r.name) }

// keyOf returns the key of the benchmark called name that has the same bus and message size as r.
func (r *row) keyOf(name string) string { return fmt.Sprintf("%s/%s/%s", r.bus, r.size, name) }

// size is the size of the messages that a benchmark sends.
type size struct {
	name  string
	bytes int
}

func (s size) String() string { return s.name }

var (
	small = size{"64B", 64}
	large = size{"16KiB", 16 << 10}
	// nested is the size of the message that nestedMessage returns.
	nested = size{"10KB-nested", 0}
)

// load runs the operations of a benchmark until the given time and returns the results. A load may
// be called several times, but not concurrently.
type load func(until time.Time) tally

// tally holds the results of one call to a load.
type tally struct {
	// completed is the number of completed operations. If the benchmark measures updates, it is the
	// number of published updates. elapsed is the time that the completed operations took.
	completed uint64
	elapsed   time.Duration
	// latency holds the latencies of the completed operations. It is nil if the benchmark does not
	// measure latencies.
	latency *histogram

	// delivered is the total number of updates received by all subscribers. deliveredIn is the time
	// from the start of the load until the last update was received, and is at least elapsed.
	delivered   uint64
	deliveredIn time.Duration

	// lost is the number of updates or stream messages that were sent but not received.
	lost uint64
	// failed is the number of operations that returned an error or a wrong response. err describes
	// the failures; it is nil if there were none.
	failed uint64
	err    error
}

// allRows returns all benchmarks in the order in which they run and are printed. The benchmarks of
// psrpc are included only if withRivals is true.
func allRows(withRivals bool) []*row {
	var rows []*row
	for _, bus := range []string{onLocal, onNATS, onRedis} {
		for _, size := range []size{small, large} {
			family := bareRows(bus)
			family = append(family, callRows(bus)...)
			family = append(family, streamRows(bus)...)
			family = append(family, updateRows(bus)...)
			for _, r := range family {
				r.bus, r.size = bus, size
			}
			rows = append(rows, family...)
		}
		rows = append(rows, messageRows(bus)...)
	}
	rows = append(rows, growthRows()...)
	for _, r := range rows {
		if r.system == "" {
			r.system = onDynpsrpc
		}
	}
	if withRivals {
		rows = addRivals(rows)
	}
	return rows
}

// bareRows returns the benchmarks of the raw transports with which a bus is compared.
func bareRows(bus string) []*row {
	var rows []*row
	switch bus {
	case onNATS:
		rows = natsRows()
	case onRedis:
		rows = redisRows()
	default:
		rows = append(channelRows(), grpcRows()...)
	}
	for _, r := range rows {
		r.system = onBare
	}
	return rows
}

// Each of these constants is the part of a raw transport benchmark's name that says which messages
// are exchanged. Benchmarks of calls and streams are compared to the raw transport benchmarks.
const (
	pingPong  = ""              // one request and one response
	claims3   = "-claims-3srv"  // as many messages as in an affinity call to three servers
	answers3  = "-answers-3srv" // as many messages as in a multi call to three servers
	ackedEcho = "-acked-echo"   // as many messages as on a stream whose handler sends each message back
)

// callLimits returns the names of the benchmarks to which a benchmark of calls is compared. callers
// is the number of concurrent callers. raw is one of the constants above.
func callLimits(bus string, callers int, raw string) []string {
	at := func(name string) string { return fmt.Sprintf("%s/c%d", name, callers) }
	switch {
	case bus != onLocal && raw != pingPong:
		return []string{at(bus + raw)}
	case bus == onNATS:
		return []string{at("nats-request")}
	case bus == onRedis && callers == 1:
		return []string{at("redis-pingpong")}
	case bus == onRedis:
		return []string{at("redis-pingpong-batched")}
	}
	return []string{at("go-chan-pingpong"), at("grpc-unary")}
}
