package fleet

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/quiettime"
)

const (
	// smallShard is the maximum number of answers from the first shard of a small fleet. All other
	// servers of such a fleet are asked at the same time.
	smallShard = 8
	// firstShardWait is the longest time that Servers waits for the first shard before it asks the
	// other servers.
	firstShardWait = 100 * time.Millisecond
	// firstShardQuietTime applies on a bus that does not count receivers. When no further server of
	// the first shard has answered for this time, Servers asks the other servers. The first question
	// waits for firstShardWait instead, unless more than smallShard servers have answered.
	firstShardQuietTime = 20 * time.Millisecond
	// shardsAtOnce is the number of shards of a large fleet that are asked at the same time.
	shardsAtOnce = 4
)

// QueryOption configures [Fleet.Servers].
type QueryOption func(*queryOptions)

type queryOptions struct {
	request queryRequest
	// scope selects the servers to ask; see scopeAll. If it is empty, all servers are asked.
	scope string
	wait  time.Duration
}

// Parts sets which parts the answers of servers contain. By default, an answer contains none of
// them, only the identity and the state of the server.
func Parts(parts ...Part) QueryOption {
	return func(o *queryOptions) { o.request.Parts = append(o.request.Parts, parts...) }
}

// OfService asks only the servers of a service. wireName is the name of the service on the bus.
func OfService(wireName string) QueryOption {
	return func(o *queryOptions) { o.scope = serviceScope(wireName) }
}

// OnServer asks only the server with this ID.
func OnServer(serverID string) QueryOption {
	return func(o *queryOptions) { o.scope = serverScope(serverID) }
}

// Services limits the answers to the services with these names on the bus. By default, an answer
// contains all services of a server. The option does not change which servers are asked; see
// [OfService].
func Services(wireNames ...string) QueryOption {
	return func(o *queryOptions) { o.request.Services = append(o.request.Services, wireNames...) }
}

// MaxTopics limits the number of topics that an answer contains for each method. The default is 20,
// and the maximum is 1000.
func MaxTopics(n int) QueryOption {
	return func(o *queryOptions) { o.request.MaxTopics = uint32(min(max(n, 0), maxTopics)) }
}

// TopicsAfter asks only for the topics that follow this one in string order. To continue a list
// that was too long for one answer, pass the last topic of that answer. The parts of a topic are
// joined by "|".
func TopicsAfter(topic string) QueryOption {
	return func(o *queryOptions) { o.request.TopicsAfter = topic }
}

// Wait sets how long to wait for servers that do not answer. The default is [DefaultWait]. If all
// servers answer earlier, the question ends then. In a large fleet, the time applies to each part of
// the question; see [Fleet.Servers].
func Wait(d time.Duration) QueryOption {
	return func(o *queryOptions) {
		if d > 0 {
			o.wait = d
		}
	}
}

// Servers asks the servers of the bus, and yields each answer as soon as it arrives. By default, it
// asks all servers. The loop ends when all servers have answered, as far as the conn can know; see
// [dynamic.Client.CallMulti]. It ends after [Wait] if a server does not answer. If there are no
// servers, it yields nothing.
//
// A server may refuse to answer. Servers then yields a [Server] that contains only its ID, together
// with the server's error. If the question as a whole fails, Servers yields nil and the error, and
// the loop ends. This happens if the bus is down, the conn is closed, or ctx ends.
//
// Large fleets are asked in 64 parts, four at a time, so that their answers do not arrive all at
// once. If each part has a server that does not answer, the loop takes up to 16 times as long as
// [Wait] says. On buses that do not count receivers, such as NATS, all servers are asked at the
// same time. There, the first question of a conn may miss a server that takes longer than 0.2 s to
// answer. In a large fleet, it ends when no server has answered for that time, or for a second if
// most servers have not answered yet.
func (f *Fleet) Servers(ctx context.Context, opts ...QueryOption) iter.Seq2[*Server, error] {
	o := queryOptions{wait: f.times.wait}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return func(yield func(*Server, error) bool) {
		switch {
		case o.scope != "":
			f.ask(ctx, &o, o.scope, yield)
		case f.countsReceivers():
			f.askCounted(ctx, &o, yield)
		default:
			f.askUncounted(ctx, &o, yield)
		}
	}
}

// countsReceivers reports whether the bus counts the receivers of each message. A bus that does not
// implement [bus.ReceiverCounter] counts them.
func (f *Fleet) countsReceivers() bool {
	counter, ok := f.conn.Bus().(bus.ReceiverCounter)
	return !ok || counter.CountsReceivers()
}

// yieldServer is the function to which Servers yields. It returns false if the caller has left the
// loop.
type yieldServer = func(*Server, error) bool

// askCounted asks all servers on a bus that counts receivers. It asks those of the first shard
// before the others, so that their answers arrive early and show how large the fleet is.
func (f *Fleet) askCounted(ctx context.Context, o *queryOptions, yield yieldServer) {
	var answers atomic.Int64
	known := make(chan struct{})
	askFirst := func(ctx context.Context, yield yieldServer) {
		defer close(known)
		f.ask(ctx, o, shardScope(0), func(s *Server, err error) bool {
			answers.Add(1)
			return yield(s, err)
		})
	}
	askRest := func(ctx context.Context, yield yieldServer) {
		timer := time.NewTimer(firstShardWait)
		defer timer.Stop()
		select {
		case <-known:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if answers.Load() <= smallShard {
			f.ask(ctx, o, scopeAll, yield)
		} else {
			f.askShards(ctx, o, yield)
		}
	}
	gather(ctx, withoutRepetition(yield), askFirst, askRest)
}

// askUncounted asks all servers on a bus that does not count receivers. Like askCounted, it asks
// the servers of the first shard before the others. It does not ask the others shard by shard,
// because each discovery request would reach all servers anyway.
func (f *Fleet) askUncounted(ctx context.Context, o *queryOptions, yield yieldServer) {
	yield = withoutRepetition(yield)
	isFirstQuestion := !f.hasAsked.Swap(true)
	answers := 0
	first := *o
	first.wait = min(o.wait, firstShardWait)
	firstCtx := quiettime.With(ctx, func(responses int) time.Duration {
		if isFirstQuestion && responses <= smallShard {
			return firstShardWait // a large fleet must not be taken for a small one
		}
		return firstShardQuietTime
	})
	if !f.ask(firstCtx, &first, shardScope(0), func(s *Server, err error) bool {
		answers++
		return yield(s, err)
	}) {
		return
	}
	if isFirstQuestion && answers > smallShard {
		f.askUndiscovered(ctx, o, answers*shards, yield)
	} else {
		f.ask(ctx, o, scopeAll, yield)
	}
}

// askUndiscovered asks all servers of a large fleet without discovery, which would cost each server
// as much as the question itself. The question therefore ends when no server has answered for
// times.quiet. estimate is the likely number of servers.
func (f *Fleet) askUndiscovered(ctx context.Context, o *queryOptions, estimate int, yield yieldServer) {
	ctx = quiettime.With(ctx, func(responses int) time.Duration {
		if responses < estimate*3/4 { // The shards of a fleet differ in size.
			return f.times.busyQuiet
		}
		return f.times.quiet
	})
	f.ask(ctx, o, scopeAll, yield)
}

// withoutRepetition returns a function that passes answers on to yield. It drops the second answer
// of a server of the first shard, because these servers may be asked twice.
func withoutRepetition(yield yieldServer) yieldServer {
	first := make(map[string]bool)
	return func(s *Server, err error) bool {
		if s != nil && shardOf(s.ID) == 0 {
			if first[s.ID] {
				return true
			}
			first[s.ID] = true
		}
		return yield(s, err)
	}
}

// askShards asks the servers of all shards but the first one.
func (f *Fleet) askShards(ctx context.Context, o *queryOptions, yield yieldServer) {
	var workers []func(context.Context, yieldServer)
	for worker := range shardsAtOnce {
		workers = append(workers, func(ctx context.Context, yield yieldServer) {
			for shard := 1 + worker; shard < shards; shard += shardsAtOnce {
				if !f.ask(ctx, o, shardScope(shard), yield) {
					return
				}
			}
		})
	}
	gather(ctx, yield, workers...)
}

// gather runs functions on goroutines of their own, and yields what they yield. If yield returns
// false or a question has failed, gather cancels their context. It returns when all functions have
// returned.
func gather(ctx context.Context, yield yieldServer, functions ...func(context.Context, yieldServer)) {
	type answer struct {
		server *Server
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	var running sync.WaitGroup
	for _, f := range functions {
		running.Go(func() {
			f(ctx, func(s *Server, err error) bool {
				answers <- answer{s, err}
				return s != nil
			})
		})
	}
	go func() { // The deferred function waits for this goroutine.
		running.Wait()
		close(answers)
	}()
	defer func() {
		cancel()
		for range answers {
		}
	}()
	for a := range answers {
		if !yield(a.server, a.err) || a.server == nil {
			return
		}
	}
}

// ask asks the servers of a scope. It returns false if yield has returned false or the question has
// failed.
func (f *Fleet) ask(ctx context.Context, o *queryOptions, scope string, yield yieldServer) bool {
	started := time.Now()
	client := f.query.Topic(scope)
	for response := range client.Responses(ctx, toMessage(&o.request), dynamic.WithRequestTimeout(o.wait)) {
		switch {
		case response.Err == nil:
			server := fromMessage[Server](response.Result)
			server.ID = response.ServerID
			server.RoundTrip = time.Since(started)
			server.ClockOffset = server.Now.Sub(started.Add(server.RoundTrip / 2))
			if !yield(server, nil) {
				return false
			}
		case response.ServerID != "":
			if !yield(&Server{ID: response.ServerID, RoundTrip: time.Since(started)}, response.Err) {
				return false
			}
		case isNobodyListening(response.Err):
			return true
		default:
			yield(nil, response.Err)
			return false
		}
	}
	if err := ctx.Err(); err != nil {
		yield(nil, errors.FromContext(err))
		return false
	}
	return true
}

// isNobodyListening reports whether a call has failed because there are no servers.
func isNobodyListening(err error) bool {
	facts, ok := errors.FactsOf(err)
	return ok && facts.Reason == errors.ReasonNobodyListening
}
