package mock

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Config configures a [Mock]. The zero value generates all answers and sends them at once.
type Config struct {
	// Seed selects the generated answers.
	Seed uint64
	// Stubs contains the stubs, each of which answers some of the requests.
	Stubs []*Stub
	// Recording makes the mock answer a request with the recorded answer to the most similar
	// request. It may be nil.
	Recording *recording.Recording
	// Echo makes the mock answer with the fields that the request and the response type have in
	// common.
	Echo bool
	// Latency is how long each answer takes, unless a stub says otherwise.
	Latency Delay
	// Failures makes a random share of the requests fail. It does not affect requests that a stub
	// answers.
	Failures Failures
	// Affinity is the affinity with which the servers claim each request. If it is nil, they use 1.
	Affinity *float32
	// Every is the time between two updates of a subscription, unless a stub says otherwise. If it
	// is 0, no updates are published.
	Every time.Duration
	// Answered is called for each answer, before it is sent, and for each update, after it is
	// published. It may be nil, and must be safe for concurrent use.
	Answered func(Answer)
}

// Answer describes how a mock has answered a request, or which update it has published.
type Answer struct {
	Method *registry.Method
	// Topic is the topic of the request.
	Topic []string
	// Request is nil for an update. Response is nil if there was an error.
	Request, Response proto.Message
	Err               error
	// Source says where the answer came from: "stub 2", "failure", "recording", "echo" or
	// "generated".
	Source string
}

// Mock answers requests and publishes updates as its [Config] says. It is safe for concurrent use.
type Mock struct {
	config   Config
	recorded map[*registry.Method]*recorded
}

// New returns a mock for the services of a registry. It returns an error if a stub does not match
// them.
func New(reg *registry.Registry, config Config) (*Mock, error) {
	m := &Mock{config: config, recorded: map[*registry.Method]*recorded{}}
	if err := bindStubs(config.Stubs, reg.Services()); err != nil {
		return nil, err
	}
	if config.Recording != nil {
		m.useRecording(reg, config.Recording)
	}
	return m, nil
}

// Handlers returns handlers with which the mock answers the requests to a service.
func (m *Mock) Handlers(service *registry.Service) dynamic.Handlers {
	handlers := dynamic.Handlers{}
	for _, method := range service.Methods() {
		switch method.Kind() {
		case registry.KindSubscription:
		case registry.KindStream:
			handlers[method.Name()] = m.stream(method)
		default:
			handlers[method.Name()] = m.unary(method)
		}
	}
	return handlers
}

func (m *Mock) unary(method *registry.Method) dynamic.Handler {
	var options []dynamic.HandlerOption
	if method.RequireClaim() {
		options = append(options, dynamic.WithAffinity(func(context.Context, proto.Message) float32 { return m.affinity() }))
	}
	return dynamic.Unary(func(ctx context.Context, request proto.Message) (proto.Message, error) {
		answers, err := m.answer(ctx, method, request)
		if err != nil || len(answers) == 0 {
			return nil, err
		}
		return answers[0], nil
	}, options...)
}

func (m *Mock) stream(method *registry.Method) dynamic.Handler {
	var options []dynamic.HandlerOption
	if method.RequireClaim() {
		options = append(options, dynamic.WithStreamAffinity(func(context.Context) float32 { return m.affinity() }))
	}
	return dynamic.Stream(func(stream dynamic.ServerStream[proto.Message, proto.Message]) error {
		for message := range stream.Channel() {
			answers, err := m.answer(stream.Context(), method, message)
			if err != nil {
				return err
			}
			for _, answer := range answers {
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
		}
		return nil
	}, options...)
}

func (m *Mock) affinity() float32 {
	if m.config.Affinity == nil {
		return 1
	}
	return *m.config.Affinity
}

// answer returns the messages with which the mock answers a request. It returns after the delay
// that the stub or the configuration sets.
func (m *Mock) answer(ctx context.Context, method *registry.Method, request proto.Message) ([]proto.Message, error) {
	answers, source, delay, err := m.choose(ctx, method, request)
	if waiting := wait(ctx, delay); waiting != nil {
		return nil, waiting
	}
	if m.config.Answered != nil {
		answer := Answer{Method: method, Topic: topicOf(ctx), Request: request, Err: err, Source: source}
		if len(answers) > 0 {
			answer.Response = answers[0]
		}
		m.config.Answered(answer)
	}
	return answers, err
}

// choose decides how a request is answered and how long the answer takes. source says where the
// answer came from; see [Answer].
func (m *Mock) choose(
	ctx context.Context, method *registry.Method, request proto.Message,
) (answers []proto.Message, source string, delay Delay, err error) {
	if stub, messages, err := m.stubFor(ctx, method, request); stub != nil {
		delay = m.config.Latency
		if stub.delay != nil {
			delay = *stub.delay
		}
		return messages, stub.name, delay, err
	}
	if err := m.config.Failures.next(); err != nil {
		return nil, "failure", m.config.Latency, err
	}
	if r := m.recorded[method]; r != nil {
		message, err := r.answer(request)
		return []proto.Message{message}, "recording", m.config.Latency, err
	}
	if m.config.Echo {
		if message, ok := echo(method, request); ok {
			return []proto.Message{message}, "echo", m.config.Latency, nil
		}
	}
	message, err := m.generate(method, request, 0)
	return []proto.Message{message}, "generated", m.config.Latency, err
}

// generate returns a generated answer, which is the same for equal requests. An update has no
// request: its number makes it differ from other updates.
func (m *Mock) generate(method *registry.Method, request proto.Message, number uint64) (proto.Message, error) {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(method.FullName()))
	if request != nil {
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
		if err != nil {
			return nil, errors.NewErrorf(errors.Internal, "request of %s: %w", method.FullName(), err)
		}
		_, _ = hash.Write(encoded)
	}
	return Generate(method.Service(), method.Output(), rand.New(rand.NewPCG(m.config.Seed, hash.Sum64()+number))) //nolint:gosec // test data
}

// Publish publishes updates for all subscription methods of the registered services until ctx ends.
// For a method with topics, it publishes on the topics that have the right number of parts.
func (m *Mock) Publish(ctx context.Context, topics [][]string, registrations ...*dynamic.Registration) {
	var publishing sync.WaitGroup
	for _, registration := range registrations {
		for _, method := range registration.Service().Methods() {
			every := m.every(method)
			if every <= 0 {
				continue
			}
			for _, topic := range TopicsFor(method, topics) {
				publishing.Go(func() { m.publish(ctx, registration, method, topic, every) })
			}
		}
	}
	publishing.Wait()
}

// The method every returns the time between two updates of an RPC method, or 0 if none is
// published.
func (m *Mock) every(method *registry.Method) time.Duration {
	if method.Kind() != registry.KindSubscription {
		return 0
	}
	for _, stub := range m.config.Stubs {
		if stub.method == method && stub.every > 0 {
			return stub.every
		}
	}
	return m.config.Every
}

// publish publishes updates of one method on one topic until ctx ends.
func (m *Mock) publish(
	ctx context.Context, registration *dynamic.Registration, method *registry.Method, topic []string, every time.Duration,
) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var options []dynamic.RequestOption
	if len(topic) > 0 {
		options = append(options, dynamic.WithTopic(topic...))
	}
	for n := uint64(0); ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		stub, updates, err := m.stubFor(context.WithValue(ctx, topicKey{}, topic), method, nil)
		source := "generated"
		if stub != nil {
			source = stub.name
		} else {
			var update proto.Message
			update, err = m.generate(method, nil, n)
			updates = []proto.Message{update}
		}
		if err != nil {
			updates = []proto.Message{nil} // one update that stands for the failure
		}
		for _, update := range updates {
			if err == nil {
				err = registration.Publish(ctx, method.Name(), update, options...)
			}
			if m.config.Answered != nil && ctx.Err() == nil {
				m.config.Answered(Answer{Method: method, Topic: topic, Response: update, Err: err, Source: source})
			}
		}
	}
}

// TopicsFor returns the topics that have as many parts as the method requires. For a method without
// topics, it returns a single topic, which is nil.
func TopicsFor(method *registry.Method, topics [][]string) [][]string {
	if !method.Topics() {
		return [][]string{nil}
	}
	var fitting [][]string
	for _, topic := range topics {
		if len(topic) == method.TopicParts() {
			fitting = append(fitting, topic)
		}
	}
	return fitting
}

type topicKey struct{}

// topicOf returns the topic that the interceptor of WithTopics has put into the context.
func topicOf(ctx context.Context) []string {
	topic, _ := ctx.Value(topicKey{}).([]string)
	return topic
}

// WithTopics returns a server option that tells the handlers of a mock the topics of single and
// multi calls. For streams, the topic remains unknown.
func WithTopics() dynamic.ServerOption {
	return dynamic.WithServerRPCInterceptors(func(
		ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
	) (proto.Message, error) {
		return handler(context.WithValue(ctx, topicKey{}, info.Topic), request)
	})
}

// wait waits for a delay. It returns an error if ctx ends first.
func wait(ctx context.Context, delay Delay) error {
	d := delay.next()
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.FromContext(ctx.Err())
	}
}
