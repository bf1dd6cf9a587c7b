package mock

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxStubs is the maximum size in bytes of a file with stubs.
const maxStubs = 16 << 20

// Stub is a prepared answer to some requests of a method.
type Stub struct {
	spec stubSpec
	// name identifies the stub in outputs, such as "stub 2".
	name string
	// delay is nil if the stub does not set it.
	delay *Delay
	every time.Duration
	// answered is the number of requests that the stub has answered.
	answered atomic.Int64

	// bind sets the following fields, for which it needs the schema.
	method *registry.Method
	// when decides which requests the stub answers. If it is nil, the stub answers all requests.
	when *expression
	// The expression then makes the answer from the request. If it is nil, the answer is err or, if
	// err is nil too, the messages in fixed.
	then  *expression
	fixed []proto.Message
	err   error
}

// stubSpec is a stub in the form that it has in the file.
type stubSpec struct {
	Method string    `yaml:"method"`
	When   string    `yaml:"when"`
	Then   yaml.Node `yaml:"then"`
	Error  string    `yaml:"error"`
	Delay  string    `yaml:"delay"`
	Every  string    `yaml:"every"`
	Times  int64     `yaml:"times"`
}

// LoadStubs reads stubs from YAML. The file has a list with the key stubs:
//
//	stubs:
//	  - method: shop.Orders/Get        # or any suffix of that name that is unique
//	    when: request.id == 7          # CEL; the stub answers if it is true. Default: always
//	    then: {id: 7, state: PAID}     # the answer as JSON; for a stream, it may be a list
//	    delay: 5ms±2ms
//	    times: 3                       # how many requests it answers. Default: all
//	  - method: Orders/Get
//	    error: not_found:no such order
//	  - method: Orders/Create
//	    then: "shop.Order{id: n, name: request.name}"   # text is CEL that returns a message or a map
//	  - method: Orders/Changes         # a subscription
//	    then: {id: 7}
//	    every: 2s
//
// In CEL, request is the message, metadata is a map, and topic is a list, which is empty for a
// stream. n counts the requests that the stub has answered, including this one. The first stub that
// matches a request answers it.
func LoadStubs(r io.Reader) ([]*Stub, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxStubs+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxStubs {
		return nil, errors.NewErrorf(errors.ResourceExhausted, "the stubs are larger than %d MiB", maxStubs>>20)
	}
	var file struct {
		Stubs []stubSpec `yaml:"stubs"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "the stubs cannot be read: %w", err)
	}
	var stubs []*Stub
	for i, spec := range file.Stubs {
		stub := &Stub{spec: spec, name: fmt.Sprintf("stub %d", i+1)}
		if err := stub.parse(); err != nil {
			return nil, stub.problem(err)
		}
		stubs = append(stubs, stub)
	}
	return stubs, nil
}

func (s *Stub) problem(err error) error {
	return errors.NewErrorf(errors.InvalidArgument, "%s (%s): %w", s.name, s.spec.Method, err)
}

// parse checks the stub and reads those parts of it that do not depend on the schema.
func (s *Stub) parse() error {
	switch {
	case s.spec.Method == "":
		return errors.New("it names no method")
	case s.spec.Error != "" && !s.spec.Then.IsZero():
		return errors.New("then and error exclude each other")
	case s.spec.Error == "" && s.spec.Then.IsZero():
		return errors.New("it has neither then nor error")
	case s.spec.Times < 0:
		return errors.New("times must not be negative")
	}
	if s.spec.Delay != "" {
		delay, err := ParseDelay(s.spec.Delay)
		if err != nil {
			return err
		}
		s.delay = &delay
	}
	if s.spec.Every != "" {
		every, err := time.ParseDuration(s.spec.Every)
		if err != nil || every <= 0 {
			return fmt.Errorf("every %q is no duration such as 2s", s.spec.Every)
		}
		s.every = every
	}
	if s.spec.Error != "" {
		code, text, err := parseError(s.spec.Error)
		if err != nil {
			return err
		}
		s.err = newError(code, text)
	}
	return nil
}

// bindStubs finds the methods of the stubs and checks the stubs against the schema. Its error
// contains the problems of all stubs.
func bindStubs(stubs []*Stub, services []*registry.Service) error {
	var problems []error
	for _, stub := range stubs {
		if err := stub.bind(services); err != nil {
			problems = append(problems, stub.problem(err))
		}
	}
	return errors.Join(problems...)
}

func (s *Stub) bind(services []*registry.Service) (err error) {
	if s.method, err = findMethod(services, s.spec.Method); err != nil {
		return err
	}
	switch isSubscription := s.method.Kind() == registry.KindSubscription; {
	case s.every > 0 && !isSubscription:
		return errors.New("every is for subscriptions")
	case isSubscription && (s.delay != nil || s.spec.Error != ""):
		return errors.New("error and delay are not for subscriptions: their updates are only published")
	}
	if s.spec.When != "" {
		if s.when, err = newExpression(s.method, s.spec.When); err != nil {
			return fmt.Errorf("when: %w", err)
		}
		if !s.when.isBool() {
			return errors.New("when: the expression must be true or false")
		}
	}
	if s.spec.Error != "" {
		return nil
	}
	if s.spec.Then.Kind == yaml.ScalarNode {
		if s.then, err = newExpression(s.method, s.spec.Then.Value); err != nil {
			return fmt.Errorf("then: %w", err)
		}
		return nil
	}
	s.fixed, err = s.parseMessages()
	return err
}

// parseMessages converts the YAML of the answers to messages.
func (s *Stub) parseMessages() ([]proto.Message, error) {
	var value any
	if err := s.spec.Then.Decode(&value); err != nil {
		return nil, fmt.Errorf("then: %w", err)
	}
	values := []any{value}
	if s.spec.Then.Kind == yaml.SequenceNode {
		if kind := s.method.Kind(); kind != registry.KindStream && kind != registry.KindSubscription {
			return nil, fmt.Errorf("then: a %s call has one answer, not a list", s.method.Kind())
		}
		values, _ = value.([]any)
	}
	var messages []proto.Message
	for _, v := range values {
		encoded, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("then: quote the keys of maps that are no text: %w", err)
		}
		message, err := newMessage(s.method.Service(), s.method.Output())
		if err != nil {
			return nil, err
		}
		if err := (protojson.UnmarshalOptions{Resolver: s.method.Service()}).Unmarshal(encoded, message); err != nil {
			return nil, fmt.Errorf("then: %s", jsonProblem(err))
		}
		messages = append(messages, message)
	}
	return messages, nil
}

// jsonProblem returns the text of an error of package protojson. It removes the prefix and the
// no-break spaces that the package puts into its texts.
func jsonProblem(err error) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto:"))
}

// findMethod returns the method with the given name, or the only one whose name ends with it.
func findMethod(services []*registry.Service, name string) (*registry.Method, error) {
	var found []*registry.Method
	for _, service := range services {
		for _, method := range service.Methods() {
			full := method.FullName()
			if full == name {
				return method, nil
			}
			if rest, ok := strings.CutSuffix(full, name); ok && (strings.HasSuffix(rest, ".") || strings.HasSuffix(rest, "/")) {
				found = append(found, method)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("there is no method %s; names look like my.pkg.MyService/MyMethod", name)
	default:
		return nil, fmt.Errorf("several methods have a name that ends with %s: %s and %s", name, found[0].FullName(), found[1].FullName())
	}
}

// stubFor returns the first stub that answers the request, and its answers. It returns nil if no
// stub does. The request is nil for an update.
func (m *Mock) stubFor(ctx context.Context, method *registry.Method, request proto.Message) (*Stub, []proto.Message, error) {
	for _, stub := range m.config.Stubs {
		if stub.method != method {
			continue
		}
		in := input{request: request, topic: topicOf(ctx)}
		if info, ok := dynamic.RequestInfoFromContext(ctx); ok {
			in.metadata = info.Metadata
		}
		if answers, ok, err := stub.answer(in); ok {
			return stub, answers, err
		}
	}
	return nil, nil, nil
}

// answer returns the answers to a request, or false if the stub does not answer it. If an expression
// fails, for example because it divides by zero, the answer is an error.
func (s *Stub) answer(in input) (answers []proto.Message, ok bool, err error) {
	in.number = s.answered.Load() + 1
	if s.when != nil {
		holds, err := s.when.evaluateBool(in)
		if err != nil {
			return nil, true, errors.NewErrorf(errors.Internal, "%s: when: %w", s.name, err)
		}
		if !holds {
			return nil, false, nil
		}
	}
	if in.number, ok = s.take(); !ok {
		return nil, false, nil
	}
	if s.err != nil {
		return nil, true, s.err
	}
	if s.then == nil {
		for _, message := range s.fixed {
			answers = append(answers, proto.Clone(message))
		}
		return answers, true, nil
	}
	message, err := s.then.evaluateMessage(in)
	if err != nil {
		return nil, true, errors.NewErrorf(errors.Internal, "%s: then: %w", s.name, err)
	}
	return []proto.Message{message}, true, nil
}

// take counts a request that the stub answers, and returns its number. It returns false if the stub
// has already answered as many requests as it may.
func (s *Stub) take() (number int64, ok bool) {
	for {
		answered := s.answered.Load()
		if s.spec.Times > 0 && answered >= s.spec.Times {
			return 0, false
		}
		if s.answered.CompareAndSwap(answered, answered+1) {
			return answered + 1, true
		}
	}
}
