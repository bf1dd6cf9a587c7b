package main

import (
	"fmt"
	"time"
)

// row is one benchmark: a line of the table.
type row struct {
	bus  string
	size size
	name string
	// bare marks rows of the raw transport, without the engine.
	bare bool
	// limits are the names of the rows, with the same bus and size, that this row is compared to.
	limits []string
	// open sets up the row and returns its load.
	open func(s *scene) load
}

func (r *row) key() string { return r.keyOf(r.name) }

// keyOf returns the key of the row with the same bus and size and the given name.
func (r *row) keyOf(name string) string { return fmt.Sprintf("%s/%s/%s", r.bus, r.size, name) }

// size is the size of messages.
type size struct {
	name  string
	bytes int
}

func (s size) String() string { return s.name }

var (
	small  = size{"64B", 64}
	large  = size{"16KiB", 16 << 10}
	nested = size{"10KB-nested", 0} // the size is that of nestedMessage
)

// load runs the operations of a row until the given time and returns their results. A load may be
// called several times.
type load func(until time.Time) tally

// tally is the result of a load.
type tally struct {
	// completed counts operations, for updates the published ones. They took elapsed.
	completed uint64
	elapsed   time.Duration
	// latency holds the latencies of operations. It is nil for rows without latencies.
	latency *histogram

	// delivered counts received updates over all subscribers. Their delivery took deliveredIn.
	delivered   uint64
	deliveredIn time.Duration

	// lost counts updates and stream messages that were sent and not received.
	lost uint64
	// failed counts operations with an error or a wrong response. err is the first of these errors.
	failed uint64
	err    error
}

// allRows returns all rows, in the order of the table.
func allRows() []*row {
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
	return append(rows, growthRows()...)
}

// bareRows returns the rows of the raw transport of a bus.
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
		r.bare = true
	}
	return rows
}

// callLimits returns the names of the rows that calls on a bus are compared to.
func callLimits(bus string, callers int) []string {
	at := func(name string) string { return fmt.Sprintf("%s/c%d", name, callers) }
	switch {
	case bus == onNATS:
		return []string{at("nats-request")}
	case bus == onRedis && callers == 1:
		return []string{at("redis-pingpong")}
	case bus == onRedis:
		return []string{at("redis-pingpong-batched")}
	}
	return []string{at("go-chan-pingpong"), at("grpc-unary")}
}
