package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// growthCounts contains the values of n for which the cost of a call is measured. In each
// benchmark, n is the number of services, of methods, of topics, or of other calls that are waiting
// for their responses.
var growthCounts = []int{1, 100, 10_000}

// growthBusy is the approximate number of services, methods or topics that a benchmark calls.
// Benchmarks whose names end in "/each" call all of them instead.
const growthBusy = 16

// growthRows returns benchmarks that show how the cost of a call grows with the number of services,
// methods, topics, waiting calls or servers. fleetRows returns those with many servers; all others
// make sequential in-process calls.
//
// For each n in growthCounts, there are benchmarks with n services, n methods, n topics and n
// waiting calls. In the last one, n other calls wait for their responses while one method is
// called. In the first three, about growthBusy services, methods or topics are called in turn. For
// large n, there are also benchmarks whose names end in "/each". They call all n services, methods
// or topics in turn, so that the data for the next call is never in the CPU cache.
func growthRows() []*row {
	var rows []*row
	for _, dimension := range []struct {
		name string
		open func(s *scene, n, busy int) load
		each bool
	}{
		{"services", func(s *scene, n, busy int) load { return s.manyServices(n, 1, busy) }, true},
		{"methods", func(s *scene, n, busy int) load { return s.manyServices(1, n, busy) }, true},
		{"topics", (*scene).manyTopics, true},
		{"pending", func(s *scene, n, _ int) load { return s.manyPending(n) }, false},
	} {
		for _, n := range growthCounts {
			add := func(name string, busy int) {
				r := &row{
					bus: onLocal, size: small, name: name,
					open: func(s *scene) load { return dimension.open(s, n, busy) },
				}
				if n > 1 {
					r.limits = []string{growthName(dimension.name, 1)}
				}
				rows = append(rows, r)
			}
			add(growthName(dimension.name, n), min(n, growthBusy))
			if dimension.each && n > growthBusy {
				add(growthName(dimension.name, n)+"/each", n)
			}
		}
	}
	for _, bus := range []string{onLocal, onNATS, onRedis} {
		rows = append(rows, fleetRows(bus)...)
	}
	return rows
}

func growthName(dimension string, n int) string { return fmt.Sprintf("growth/%s/%d", dimension, n) }

// inTurn first makes one call with every client. It then selects about count clients at regular
// intervals from the slice. The returned [load] has a single caller, which uses the selected
// clients in turn.
func (s *scene) inTurn(clients []*dynamic.Client[text, text], count int) load {
	var calls []func() error
	for i, client := range clients {
		call := s.call(client, 0)
		s.check(call())
		if i%(len(clients)/count) == 0 {
			calls = append(calls, call)
		}
	}
	next := 0
	return callers([]func() error{func() error {
		next = (next + 1) % len(calls)
		return calls[next]()
	}})
}

func (s *scene) manyServices(services, methods, busy int) load {
	file := manyServicesFile(services, methods)
	described, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	s.check(err)
	reg, server := registry.New(), s.server()
	s.check(reg.RegisterFile(described))
	conn := s.connTo(reg)

	var clients []*dynamic.Client[text, text]
	for _, service := range reg.Services() {
		handlers := dynamic.Handlers{}
		for _, method := range service.Methods() {
			handlers[method.Name()] = dynamic.Unary(echo)
		}
		_, err := server.Register(service, handlers)
		s.check(err)
		for _, method := range service.Methods() {
			client, err := dynamic.NewClient[text, text](conn, method.FullName())
			s.check(err)
			clients = append(clients, client)
		}
	}
	return s.inTurn(clients, busy)
}

func manyServicesFile(services, methods int) *descriptorpb.FileDescriptorProto {
	wrapper := new(wrapperspb.StringValue).ProtoReflect().Descriptor()
	typeName := new("." + string(wrapper.FullName()))
	file := &descriptorpb.FileDescriptorProto{
		Name: new("many.proto"), Package: new("many"), Syntax: new(protoreflect.Proto3.String()),
		Dependency: []string{wrapper.ParentFile().Path()},
	}
	for i := range services {
		service := &descriptorpb.ServiceDescriptorProto{Name: new(fmt.Sprint("Service", i))}
		for j := range methods {
			service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
				Name: new(fmt.Sprint("Method", j)), InputType: typeName, OutputType: typeName,
			})
		}
		file.Service = append(file.Service, service)
	}
	return file
}

func (s *scene) manyTopics(n, busy int) load {
	registration := s.serve(dynamic.Handlers{"Topic": dynamic.Unary(echo)})
	client := s.client(s.conn(), "Topic")
	clients := make([]*dynamic.Client[text, text], n)
	for i := range clients {
		topic := fmt.Sprint("topic-", i)
		s.check(registration.RegisterTopic("Topic", topic))
		clients[i] = client.Topic(topic)
	}
	return s.inTurn(clients, busy)
}

func (s *scene) manyPending(n int) load {
	const hold = "hold"
	held, release := make(chan struct{}), make(chan struct{})
	s.serve(dynamic.Handlers{queue: dynamic.Unary(func(_ context.Context, request text) (text, error) {
		if request.GetValue() == hold {
			held <- struct{}{}
			<-release
		}
		return request, nil
	})})
	client := s.client(s.conn(), queue)
	var pending sync.WaitGroup
	for range n {
		// The cleanup function waits until this goroutine has ended.
		pending.Go(func() {
			_, _ = client.Call(s.Context(), wrapperspb.String(hold), dynamic.WithRequestTimeout(time.Hour))
		})
		<-held
	}
	s.Cleanup(func() {
		close(release)
		pending.Wait()
	})
	return callers([]func() error{s.call(client, 0)})
}
