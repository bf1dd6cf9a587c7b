package recording

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Version is the version of the format.
const Version = 1

// Header is the first record of a recording.
type Header struct {
	// Begun is when the recording was begun.
	Begun time.Time
	// Bus is the kind of the bus: "redis", "nats" or "local".
	Bus string
	// Software is the program that wrote the recording.
	Software string
	// Redacted names the field options that marked the removed fields as secret; see [NewRedactor].
	Redacted []string
}

// Service is a service whose events a recording contains.
type Service struct {
	// Name is the full name in the .proto file, and WireName the name on the bus.
	Name, WireName string
	// Digest identifies the descriptors.
	Digest fleet.Digest
	// Files contains the file that declares the service, and all files that it imports.
	Files *descriptorpb.FileDescriptorSet
}

// Event is something that went through a server.
type Event = fleet.TapEvent

// Recording is the content of a file.
type Recording struct {
	Header   Header
	Services []Service
	// Events are in the order in which they were recorded.
	Events []Event
}

// Registry returns a registry with the services of the recording. If the recording contains several
// versions of a service, only the first one is in the registry, and skipped contains the others.
func (r *Recording) Registry(opts ...registry.LoadOption) (reg *registry.Registry, skipped []Service, err error) {
	names := map[string]string{}
	for _, s := range r.Services {
		names[s.Name] = s.WireName
	}
	reg = registry.New(append(opts, registry.WithWireNames(names))...)
	for _, s := range r.Services {
		switch err := reg.RegisterDescriptorSet(s.Files); {
		case errors.Is(err, registry.ErrAlreadyRegistered):
			skipped = append(skipped, s)
		case err != nil:
			return nil, nil, errors.NewErrorf(errors.MalformedRequest, "recorded descriptors of %s: %w", s.Name, err)
		}
	}
	return reg, skipped, nil
}

// MethodOf returns the method of an event, or nil if the registry does not have it. The event may
// contain the method's name in the schema or its name on the bus.
func MethodOf(reg *registry.Registry, event *Event) *registry.Method {
	if m, ok := reg.Method(event.Method); ok {
		return m
	}
	service, method, _ := strings.Cut(event.Method, "/")
	s, ok := reg.ServiceByWireName(service)
	if !ok {
		return nil
	}
	for _, m := range s.Methods() {
		if m.WireName() == method {
			return m
		}
	}
	return nil
}

// Call is a recorded request with its responses.
type Call struct {
	Request Event
	// Responses contains responses and errors, at most one from each server.
	Responses []Event
}

// Calls returns the recorded single and multi calls in the order of their requests. Responses whose
// request was not recorded are left out.
func (r *Recording) Calls() []*Call {
	type key struct{ client, request, method string }
	var calls []*Call
	byKey := map[key]*Call{}
	for _, event := range r.Events {
		k := key{event.ClientID, event.RequestID, event.Method}
		switch event.Kind {
		case fleet.TapRequested:
			// Each server that gets the request of a multi call records it. Only the first of these
			// events begins a new call.
			if byKey[k] == nil || event.RequestID == "" {
				byKey[k] = &Call{Request: event}
				calls = append(calls, byKey[k])
			}
		case fleet.TapResponse, fleet.TapError:
			if call := byKey[k]; call != nil {
				call.Responses = append(call.Responses, event)
			}
		}
	}
	return calls
}

// Updates returns the recorded updates.
func (r *Recording) Updates() []Event {
	return slices.DeleteFunc(slices.Clone(r.Events), func(e Event) bool { return e.Kind != fleet.TapUpdate })
}

// Decode decodes the payload of an event. The kind of the event determines whether it is a message
// of the request type or of the response type of method.
func Decode(method *registry.Method, event *Event) (proto.Message, error) {
	of := method.Output()
	switch event.Kind {
	case fleet.TapRequested, fleet.TapOpen, fleet.TapMessageIn:
		of = method.Input()
	}
	messageType, err := method.Service().FindMessageByName(of.FullName())
	if err != nil {
		return nil, err
	}
	if event.Size > 0 && len(event.Payload) == 0 {
		return nil, errors.NewErrorf(errors.ResourceExhausted, "the message was not recorded, it has %d bytes", event.Size)
	}
	message := messageType.New().Interface()
	if err := (proto.UnmarshalOptions{Resolver: method.Service()}).Unmarshal(event.Payload, message); err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "the recorded payload is no %s: %w",
			of.FullName(), err)
	}
	return message, nil
}
