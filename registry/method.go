package registry

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Method is a method of a service with its psrpc options. It is immutable and safe for concurrent
// use.
type Method struct {
	service      *Service
	descriptor   protoreflect.MethodDescriptor
	fullName     string
	wireName     string
	kind         Kind
	routing      Routing
	topics       bool
	topicParams  []string
	group        string
	singleServer bool
}

// FullName returns the service and method name, such as "my.pkg.MyService/NormalRPC".
func (m *Method) FullName() string { return m.fullName }

// Name returns the name of the method in its .proto file.
func (m *Method) Name() string { return string(m.descriptor.Name()) }

// WireName returns the name of the method on the bus, which is its name in CamelCase.
func (m *Method) WireName() string { return m.wireName }

// Service returns the service that the method belongs to.
func (m *Method) Service() *Service { return m.service }

// Kind returns the kind of the method. A stream or subscription with MULTI routing is [KindStream]
// or [KindSubscription], not [KindMulti].
func (m *Method) Kind() Kind { return m.kind }

// Routing returns which receivers get a message of this method.
func (m *Method) Routing() Routing { return m.routing }

// Topics reports whether the method has topics.
func (m *Method) Topics() bool { return m.topics }

// TopicParams returns the names of the topic parts, in order. The caller owns the slice. It is
// empty for a method without topics and for a method whose topic is one unnamed part.
func (m *Method) TopicParams() []string { return slices.Clone(m.topicParams) }

// TopicParts returns the number of parts of a topic: 0 for a method without topics, and 1 for a
// method whose topic has no named parts.
func (m *Method) TopicParts() int {
	if !m.topics {
		return 0
	}
	return max(1, len(m.topicParams))
}

// Group returns the topic group of the method. It is empty if the method has no group or no topics.
// Methods of a group are registered for a topic together.
func (m *Method) Group() string { return m.group }

// SingleServer reports whether the schema declares that at most one server listens per topic. As in
// psrpc, this also applies to a method without topics.
func (m *Method) SingleServer() bool { return m.singleServer }

// RequireClaim reports whether a server must claim a request before it handles it. This is the case
// for methods that are not routed to all servers and do not declare a single server.
func (m *Method) RequireClaim() bool { return m.routing != RoutingMulti && !m.singleServer }

// Queue reports whether the bus delivers each message to only one receiver.
func (m *Method) Queue() bool { return m.routing == RoutingQueue }

// Descriptor returns the protobuf descriptor of the method.
func (m *Method) Descriptor() protoreflect.MethodDescriptor { return m.descriptor }

// Input returns the descriptor of the request. It has no meaning for a subscription.
func (m *Method) Input() protoreflect.MessageDescriptor { return m.descriptor.Input() }

// Output returns the descriptor of the response, or of the updates of a subscription.
func (m *Method) Output() protoreflect.MessageDescriptor { return m.descriptor.Output() }

// String returns the full name and the options in readable form, such as
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
