package registry

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Method is a method of a service together with its psrpc options. A Method is immutable and safe
// for concurrent use.
type Method struct {
	// The fields that calls use come first, so that they share a cache line. If there are thousands
	// of methods, their data does not fit into the CPU caches, so each call loads it from memory.

	kind         Kind
	routing      Routing
	topics       bool
	singleServer bool
	service      *Service
	descriptor   protoreflect.MethodDescriptor
	fullName     string

	wireName    string
	topicParams []string
	group       string
}

// FullName returns the full name of the service and the name of the method, separated by a slash,
// such as "my.pkg.MyService/NormalRPC".
func (m *Method) FullName() string { return m.fullName }

// Name returns the name of the method in its .proto file.
func (m *Method) Name() string { return string(m.descriptor.Name()) }

// WireName returns the name of the method on the bus. It is the name from the .proto file, in
// CamelCase.
func (m *Method) WireName() string { return m.wireName }

// Service returns the service to which the method belongs.
func (m *Method) Service() *Service { return m.service }

// Kind returns the kind of the method. A stream or subscription with MULTI routing has the kind
// [KindStream] or [KindSubscription], not [KindMulti].
func (m *Method) Kind() Kind { return m.kind }

// Routing returns the routing of the method, which determines the receivers of each message.
func (m *Method) Routing() Routing { return m.routing }

// Topics reports whether the method uses topics.
func (m *Method) Topics() bool { return m.topics }

// TopicParams returns the names of the topic parameters, in the order of the parts of a topic. The
// result is empty if the method has no topics, or if its topics consist of a single unnamed part.
// Callers may modify the slice.
func (m *Method) TopicParams() []string { return slices.Clone(m.topicParams) }

// TopicParts returns the number of parts in each topic of the method. It returns 0 if the method
// has no topics, and 1 if the method has topics but no named topic parameters.
func (m *Method) TopicParts() int {
	if !m.topics {
		return 0
	}
	return max(1, len(m.topicParams))
}

// Group returns the name of the method's topic group. It is empty if the method has no group or no
// topics. A server can register all methods of a group on a topic in one step.
func (m *Method) Group() string { return m.group }

// SingleServer reports whether the schema declares that at most one server listens on each topic.
// As in psrpc, the declaration also applies to methods without topics.
func (m *Method) SingleServer() bool { return m.singleServer }

// RequireClaim reports whether a server must claim a request before handling it. No claim is
// required if the method is routed to all servers, or if the schema declares a single server for
// it.
func (m *Method) RequireClaim() bool { return m.routing != RoutingMulti && !m.singleServer }

// Queue reports whether the bus delivers each message to only one of the receivers.
func (m *Method) Queue() bool { return m.routing == RoutingQueue }

// Descriptor returns the protobuf descriptor of the method.
func (m *Method) Descriptor() protoreflect.MethodDescriptor { return m.descriptor }

// Input returns the descriptor of the request message. The request message of a subscription is not
// used.
func (m *Method) Input() protoreflect.MessageDescriptor { return m.descriptor.Input() }

// Output returns the descriptor of the response message or, for a subscription, of the update
// message.
func (m *Method) Output() protoreflect.MessageDescriptor { return m.descriptor.Output() }

// String returns the full name and a readable description of the options, such as
// "my.pkg.MyService/GetRegionStats (multi, multi routing, topic region/zone)".
func (m *Method) String() string {
	var b strings.Builder
	b.WriteString(m.fullName + " (" + m.kind.String() + ", " + m.routing.String() + " routing")
	if m.topics {
		b.WriteString(", topic")
	}
	if len(m.topicParams) > 0 {
		b.WriteString(" " + strings.Join(m.topicParams, "/"))
	}
	if m.group != "" {
		b.WriteString(", group " + m.group)
	}
	if m.singleServer {
		b.WriteString(", single server")
	}
	b.WriteString(")")
	return b.String()
}
