package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/livekit/psrpc"
	psrpcbus "github.com/livekit/psrpc/pkg/bus"
	psrpcnats "github.com/livekit/psrpc/pkg/bus/natsbus"
	psrpcredis "github.com/livekit/psrpc/pkg/bus/redisbus"
	psrpcclient "github.com/livekit/psrpc/pkg/client"
	"github.com/livekit/psrpc/pkg/info"
	"github.com/livekit/psrpc/pkg/rand"
	psrpcserver "github.com/livekit/psrpc/pkg/server"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// rivalName returns the name of the psrpc benchmark that is compared to the dynpsrpc benchmark with
// the given name.
func rivalName(name string) string { return "psrpc/" + name }

// addRivals adds the benchmarks that use psrpc. Each of them runs directly after the benchmark of
// dynpsrpc that is compared to it, so that other load on the machine affects both.
func addRivals(rows []*row) []*row {
	var all []*row
	for _, r := range rows {
		all = append(all, r)
		if r.rival == nil {
			continue
		}
		rival := &row{system: onPSRPC, bus: r.bus, size: r.size, name: rivalName(r.name), open: r.rival}
		r.limits = append(slices.Clip(r.limits), rival.name)
		all = append(all, rival)
	}
	return all
}

// psrpcDefinition describes the services of bench.proto to psrpc, as its generated code does. It
// combines the two services into one. This does not affect the results, because a psrpc server
// subscribes only to the methods that it handles.
func psrpcDefinition(id string) *info.ServiceDefinition {
	d := &info.ServiceDefinition{Name: "Bench", ID: id}
	d.RegisterMethod(queue, false, false, true, true)
	d.RegisterMethod(direct, false, false, false, true)
	d.RegisterMethod(affinity, true, false, true, false)
	d.RegisterMethod(multi, false, true, false, false)
	d.RegisterMethod(flow, false, false, true, true)
	d.RegisterMethod(jobs, false, false, false, true)
	d.RegisterMethod(news, false, true, false, false)
	return d
}

// psrpcConnect returns a bus of psrpc with its own connection to the broker. In an in-process
// benchmark, all calls return the same bus.
func (s *scene) psrpcConnect() psrpc.MessageBus {
	switch s.row.bus {
	case onNATS:
		return psrpcnats.New(s.natsConn())
	case onRedis:
		// The client has the default pool of go-redis.
		connections := redis.NewClient(&redis.Options{Addr: s.brokers.redisAddr})
		s.Cleanup(func() { _ = connections.Close() })
		return psrpcredis.New(connections)
	}
	if s.psrpcLocal == nil {
		s.psrpcLocal = psrpc.NewLocalMessageBus()
	}
	return s.psrpcLocal
}

// psrpcServer returns a new server that uses a bus obtained from psrpcConnect. The option
// WithServerSkipClaim makes queue calls faster, because the servers do not wait until the client
// has selected one of them.
func (s *scene) psrpcServer(options ...psrpc.ServerOption) *psrpcserver.RPCServer {
	options = append(options, psrpc.WithServerSkipClaim(func() bool { return true }))
	server := psrpcserver.NewRPCServer(psrpcDefinition(rand.NewServerID()), s.psrpcConnect(), options...)
	s.Cleanup(func() { server.Close(true) })
	return server
}

// psrpcClient returns a new client that uses a bus obtained from psrpcConnect.
func (s *scene) psrpcClient() *psrpcclient.RPCClient {
	client, err := psrpcclient.NewRPCClientWithStreams(psrpcDefinition(rand.NewClientID()), s.psrpcConnect(), psrpcOptions...)
	s.check(err)
	s.Cleanup(client.Close)
	return client
}

// psrpcOptions holds options for every client of psrpc. subscribing is how long [psrpcSubscribed]
// waits. Only tests of this program set these variables.
var (
	psrpcOptions []psrpc.ClientOption
	subscribing  = 200 * time.Millisecond
)

// psrpcSubscribed gives the broker time to receive the subscriptions of psrpc's servers and
// clients. The wait has a fixed length, because psrpc does not report when they are ready.
func psrpcSubscribed() { <-time.After(subscribing) }

// psrpcCalls is like [scene.calls], but uses psrpc.
func (s *scene) psrpcCalls(kind callKind, servers, n int) load {
	var rate psrpcserver.AffinityFunc[text]
	if kind.method == affinity {
		rate = func(context.Context, text) float32 { return 1 }
	}
	for range servers {
		s.check(psrpcserver.RegisterHandler(s.psrpcServer(), kind.method, nil, echo, rate))
	}
	var options []psrpc.RequestOption
	if kind.first {
		options = append(options, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AcceptFirstAvailable: true}))
	}
	client := s.psrpcClient()
	psrpcSubscribed()
	return callers(perCaller(n, func(caller int) func() error {
		ctx, body := s.Context(), s.body(caller)
		request := wrapperspb.String(body)
		return func() error {
			response, err := psrpcclient.RequestSingle[text](ctx, client, kind.method, nil, request, options...)
			if err == nil && response.GetValue() != body {
				err = errWrongAnswer
			}
			return err
		}
	}))
}

// psrpcMultiCalls is like [scene.multiCalls], but uses psrpc. A multi call of psrpc lasts until its
// timeout, so the caller cancels it when all responses have arrived.
func (s *scene) psrpcMultiCalls(servers, n int) load {
	for range servers {
		s.check(psrpcserver.RegisterHandler(s.psrpcServer(), multi, nil, echo, nil))
	}
	client := s.psrpcClient()
	psrpcSubscribed()
	return callers(perCaller(n, func(caller int) func() error {
		body := s.body(caller)
		request := wrapperspb.String(body)
		return func() error {
			ctx, cancel := context.WithCancel(s.Context())
			defer cancel()
			responses, err := psrpcclient.RequestMulti[text](ctx, client, multi, nil, request)
			if err != nil {
				return err
			}
			right := 0
			for response := range responses {
				if response.Err != nil {
					return response.Err
				}
				if response.Result.GetValue() == body {
					right++
				}
				if right == servers {
					return nil
				}
			}
			return fmt.Errorf("%w: %d of %d responses", errWrongAnswer, right, servers)
		}
	}))
}

// psrpcSends is like [scene.sends], but uses psrpc. Streams of psrpc have no window. Instead,
// window is the number of goroutines that send on each stream at the same time.
func (s *scene) psrpcSends(n, window int) load {
	var received atomic.Uint64
	server := s.psrpcServer(psrpc.WithServerChannelSize(max(window, psrpcbus.DefaultChannelSize)))
	s.check(psrpcserver.RegisterStreamHandler(server, flow, nil, func(stream psrpc.ServerStream[text, text]) error {
		s.countRight(stream.Channel(), &received)
		return nil
	}, nil))
	streams := s.psrpcStreams(n)
	send := callers(perCaller(n*window, func(caller int) func() error {
		stream := caller % n
		message := wrapperspb.String(s.body(stream))
		return func() error { return streams[stream].Send(message) }
	}))
	return countingLost(send, func() error { return nil }, &received)
}

// psrpcEchoes is like [scene.echoes], but uses psrpc.
func (s *scene) psrpcEchoes(n int) load {
	s.check(psrpcserver.RegisterStreamHandler(s.psrpcServer(), flow, nil, func(stream psrpc.ServerStream[text, text]) error {
		for message := range stream.Channel() {
			if err := stream.Send(message); err != nil {
				return err
			}
		}
		return nil
	}, nil))
	streams := s.psrpcStreams(n)
	return callers(perCaller(n, func(caller int) func() error {
		stream := streams[caller]
		send := func(message text) error { return stream.Send(message) }
		return s.exchange(caller, send, stream.Channel(), stream.Err)
	}))
}

func (s *scene) psrpcStreams(n int) []psrpc.ClientStream[text, text] {
	client := s.psrpcClient()
	psrpcSubscribed()
	streams := make([]psrpc.ClientStream[text, text], n)
	for i := range streams {
		stream, err := psrpcclient.OpenStream[text, text](s.Context(), client, flow, nil)
		s.check(err)
		s.Cleanup(func() { _ = stream.Close(nil) })
		streams[i] = stream
	}
	return streams
}

// psrpcUpdates is like [scene.updates], but uses psrpc. On Redis, a queue of psrpc delivers only
// one of several identical frames, so each update to a queue contains a different number.
func (s *scene) psrpcUpdates(f *feed, method string, subscribers int) load {
	const digits = 16
	ctx, body := s.Context(), s.body(0)
	update, common := wrapperspb.String(body), body[digits:]
	join := psrpcclient.Join[text]
	if method == jobs {
		join = psrpcclient.JoinQueue[text]
	}
	for range subscribers {
		subscription, err := join(ctx, s.psrpcClient(), method, nil)
		s.check(err)
		subscriber := f.subscriber()
		s.reader(func() {
			for update := range subscription.Channel() {
				got := update.GetValue()
				subscriber.got(len(got) == len(body) && got[digits:] == common)
			}
		}, func() { _ = subscription.Close() })
	}
	server := s.psrpcServer()
	psrpcSubscribed()
	f.publish = func() error { return server.Publish(ctx, method, nil, update) }
	if s.row.bus == onRedis && method == jobs {
		n := 0
		f.publish = func() error {
			n++
			return server.Publish(ctx, method, nil, wrapperspb.String(fmt.Sprintf("%0*d", digits, n)+common))
		}
	}
	return f.run
}
