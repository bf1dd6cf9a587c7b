package registry

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// newMethod creates a method from its descriptor and options. It returns an error for each mistake
// that it finds. The method is nil if its options cannot be read.
func newMethod(service *Service, md protoreflect.MethodDescriptor) (*Method, []error) {
	m := &Method{
		service:    service,
		descriptor: md,
		fullName:   string(service.Name()) + "/" + string(md.Name()),
		wireName:   camelCase(string(md.Name())),
	}
	problems := m.checkTypes()
	options, err := readOptions(md)
	if err != nil {
		return nil, append(problems, m.problem("%w", err))
	}
	m.routing, err = options.routing()
	if err != nil {
		problems = append(problems, m.problem("%w", err))
	}
	if options.stream && options.subscription {
		problems = append(problems, m.problem("stream and subscription are mutually exclusive: remove one of the options"))
	}
	m.kind = kindOf(options, m.routing)
	m.singleServer = options.singleServer
	if options.topics {
		m.topics = true
		m.topicParams = options.topicNames
		m.group = options.group
		problems = append(problems, m.checkTopicParams()...)
	}
	return m, problems
}

// kindOf returns the kind of a method with the given options and routing.
func kindOf(options methodOptions, routing Routing) Kind {
	switch {
	case options.subscription:
		return KindSubscription
	case options.stream:
		return KindStream
	case routing == RoutingMulti:
		return KindMulti
	default:
		return KindSingle
	}
}

// checkTypes returns an error if the method has the stream keyword, and an error for each message
// type that is missing or unresolved. It does not check the psrpc options.
func (m *Method) checkTypes() []error {
	var problems []error
	md := m.descriptor
	if md.IsStreamingClient() || md.IsStreamingServer() {
		problems = append(problems, m.problem(
			"the stream keyword is for gRPC: remove it and use option (psrpc.options).stream = true"))
	}
	for _, t := range []struct {
		role string
		md   protoreflect.MessageDescriptor
	}{{"request", md.Input()}, {"response", md.Output()}} {
		switch {
		case nilarg.Is(t.md):
			problems = append(problems, m.problem("the %s type is missing", t.role))
		case t.md.IsPlaceholder():
			problems = append(problems, m.problem("the %s type %s is not resolved: load the file that declares it as well",
				t.role, t.md.FullName()))
		}
	}
	return problems
}

func (m *Method) checkTopicParams() []error {
	var problems []error
	for i, name := range m.topicParams {
		switch {
		case name == "":
			problems = append(problems, m.problem("topic parameter %d has no name", i+1))
		case slices.Contains(m.topicParams[:i], name):
			problems = append(problems, m.problem("topic parameter %q is duplicated", name))
		}
	}
	return problems
}

func (m *Method) problem(format string, args ...any) error {
	return schemaError(m.descriptor, m.fullName, fmt.Errorf(format, args...))
}
