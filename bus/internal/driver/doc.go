// Package driver contains what the buses of all brokers have in common: their options, how the
// options are checked, their counters and their events.
//
// The package contains no code for a particular broker and sends nothing. How a bus connects,
// publishes and subscribes differs so much between brokers that each bus has its own code for it.
// Three other packages serve [bus.Open] and the in-process bus as well: internal/busurl parses
// URLs, internal/nilarg checks arguments, and internal/backoff computes the pauses between
// attempts.
//
// # Usage
//
// The options of a bus embed [Options]. The function that creates a bus applies the options with
// [Apply], and collects everything that is wrong with them in [Problems]:
//
//	o := options{Options: driver.Options{Logger: slog.Default()}, queue: 1024}
//	driver.Apply(&o, opts)
//	problems := driver.NewProblems("redis bus: ")
//	problems.AddIf(o.queue < 1, "queue size %d is not positive", o.queue)
//	o.Complete(problems, "redis bus", "channel")
//	return o, problems.Err()
//
// The bus contains [Counters] and [Events]. A goroutine of the bus runs Events.Run until the bus is
// closed.
//
// # Ordering and concurrency
//
// Events are passed to one handler, one at a time, in the order in which the bus has added them.
// Adding an event never blocks: if the handler is too slow, further events are dropped. Counters
// and Events are safe for concurrent use. Options, Problems and Prefixes are not.
//
// # Why these are not methods of one base type
//
// The exported methods of an embedded type would become methods of the bus, and part of its public
// API. Each bus therefore declares its methods Stats, Logger and Done itself, in one line each.
package driver
