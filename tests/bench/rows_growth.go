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

// growthCounts are how many there are of what grows.
var growthCounts = []int{1, 100, 10_000}

// growthRows are calls one after the other, in-process: of each of many services, methods or topics in turn, or of one
// while many other calls wait for their answers.
func growthRows() []*row {
	var rows []*row
	for _, dimension := range []struct {
		name string
		open func(s *scene, n int) load
	}{
		{"services", func(s *scene, n int) load { return s.manyServices(n, 1) }},
		{"methods", func(s *scene, n int) load { return s.manyServices(1, n) }},
		{"topics", (*scene).manyTopics},
		{"pending", (*scene).manyPending},
	} {
		for _, n := range growthCounts {
			r := &row{
				bus: onLocal, size: small, name: growthName(dimension.name, n),
				open: func(s *scene) load { return dimension.open(s, n) },
			}
			if n > 1 {
				r.limits = []string{growthName(dimension.name, 1)}
			}
			rows = append(rows, r)
		}
	}
	return rows
}

func growthName(dimension string, n int) string { return fmt.Sprintf("growth/%s/%d", dimension, n) }

// inTurn makes one caller call through one client after the other. Each has been used once before.
func (s *scene) inTurn(clients []*dynamic.Client[text, text]) load {
	calls := make([]func() error, len(clients))
	for i, client := range clients {
		calls[i] = s.call(client, 0)
		s.check(calls[i]())
	}
	next := 0
	return callers([]func() error{func() error {
		next = (next + 1) % len(calls)
		return calls[next]()
	}})
}

func (s *scene) manyServices(services, methods int) load {
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
	return s.inTurn(clients)
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

func (s *scene) manyTopics(n int) load {
	registration := s.serve(dynamic.Handlers{"Topic": dynamic.Unary(echo)})
	client := s.client(s.conn(), "Topic")
	clients := make([]*dynamic.Client[text, text], n)
	for i := range clients {
		topic := fmt.Sprint("topic-", i)
		s.check(registration.RegisterTopic("Topic", topic))
		clients[i] = client.Topic(topic)
	}
	return s.inTurn(clients)
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
		pending.Go(func() { // waited for when the scene ends
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
