package registry

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Method is one method of a service with its psrpc options. It never changes; all of its methods may
// be called from any goroutine.
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

// FullName returns service and method, such as "my.pkg.MyService/NormalRPC".
func (m *Method) FullName() string { return m.fullName }

// Name returns the name of the method in its proto file.
func (m *Method) Name() string { return string(m.descriptor.Name()) }

// WireName returns the name of the method on the bus: its name in CamelCase.
func (m *Method) WireName() string { return m.wireName }

// Service returns the service the method belongs to.
func (m *Method) Service() *Service { return m.service }

// Kind returns how the method is called. A stream or a subscription with MULTI routing keeps its
// kind: KindMulti is for plain calls.
func (m *Method) Kind() Kind { return m.kind }

// Routing returns who takes a message of this method.
func (m *Method) Routing() Routing { return m.routing }

// Topics reports whether the method is divided into topics.
func (m *Method) Topics() bool { return m.topics }

// TopicParams returns the names of the parts of a topic, in order, in a slice of the caller's own.
// It is empty for a method without topics and for one whose topic is a single part without a name.
func (m *Method) TopicParams() []string { return slices.Clone(m.topicParams) }

// TopicParts returns how many parts a topic of this method has: 0 without topics, 1 if the method has
// topics but names no parts.
func (m *Method) TopicParts() int {
	if !m.topics {
		return 0
	}
	return max(1, len(m.topicParams))
}

// Group returns the topic group of the method, empty if it is in none or has no topics. Methods of a
// group are registered for a topic together.
func (m *Method) Group() string { return m.group }

// SingleServer reports whether the schema promises that at most one server listens per topic. As in
// psrpc the promise counts for a method without topics too.
func (m *Method) SingleServer() bool { return m.singleServer }

// RequireClaim reports whether a server must be claimed before it may handle a request: so for every
// method that neither goes to all servers nor promises a single one.
func (m *Method) RequireClaim() bool { return m.routing != RoutingMulti && !m.singleServer }

// Queue reports whether the bus hands each message to one receiver only.
func (m *Method) Queue() bool { return m.routing == RoutingQueue }

// Descriptor returns the descriptor the method was read from.
func (m *Method) Descriptor() protoreflect.MethodDescriptor { return m.descriptor }

// Input returns the descriptor of the request. A subscription has none that matters.
func (m *Method) Input() protoreflect.MessageDescriptor { return m.descriptor.Input() }

// Output returns the descriptor of the response, or of the messages of a subscription.
func (m *Method) Output() protoreflect.MessageDescriptor { return m.descriptor.Output() }

// String returns the full name and what the options say, for people to read, such as
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
