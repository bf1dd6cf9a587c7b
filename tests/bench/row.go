package main

import (
	"fmt"
	"time"
)

// row is one line of the table.
type row struct {
	bus  string
	size size
	name string
	// bare rows are those that the engine's are compared to.
	bare bool
	// limits are names of rows with the same bus and size that this one is compared to.
	limits []string
	// open sets the row up and returns what it does.
	open func(s *scene) load
}

func (r *row) key() string { return r.keyOf(r.name) }

// keyOf returns the key of a row that differs in its name.
func (r *row) keyOf(name string) string { return fmt.Sprintf("%s/%s/%s", r.bus, r.size, name) }

// size is what a message weighs.
type size struct {
	name  string
	bytes int
}

func (s size) String() string { return s.name }

var (
	small  = size{"64B", 64}
	large  = size{"16KiB", 16 << 10}
	nested = size{"10KB-nested", 0} // a message that has its own size
)

// load does what a row is about until a moment, and says what came of it. It may be called more than once.
type load func(until time.Time) tally

// tally is what a load did.
type tally struct {
	completed uint64        // operations; of updates, those that were published
	elapsed   time.Duration // what they took
	latency   *histogram    // of operations; nil where that has no meaning

	delivered   uint64        // updates, over all subscribers
	deliveredIn time.Duration // what that took

	lost   uint64 // updates and stream messages that were sent and did not come
	failed uint64 // operations with an error, or with another answer than they should have
	err    error  // the first one's
}

// allRows returns the table.
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

// bareRows returns what bounds the engine on a bus.
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

// callLimits returns what a call on a bus is compared to.
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
