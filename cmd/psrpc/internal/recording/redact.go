package recording

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/internal/redact"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DebugRedact is the name of protobuf's own option for fields with secrets.
const DebugRedact = "debug_redact"

// Redactor clears the fields of messages that their schema marks as secret. It is safe for
// concurrent use.
type Redactor struct {
	options []string
	// marked caches whether a field is marked as secret. The keys are of type fieldOfService.
	marked sync.Map
}

// NewRedactor returns a redactor for fields with one of the named options. An option is
// [DebugRedact] or the full name of a bool extension of google.protobuf.FieldOptions.
func NewRedactor(options ...string) *Redactor { return &Redactor{options: options} }

// Options returns the option names that were passed to [NewRedactor].
func (r *Redactor) Options() []string { return slices.Clone(r.options) }

// Apply clears the marked fields of a message and of the messages in it. It replaces a marked
// string by "[redacted]", unless the field is repeated. It also clears what it cannot decode:
// unknown fields, and the content of an Any whose type is unknown or that is nested too deeply.
func (r *Redactor) Apply(message proto.Message, service *registry.Service) {
	r.clear(message.ProtoReflect(), service, 0)
}

// clear is like Apply. anys is the number of messages of type Any that contain the message.
func (r *Redactor) clear(message protoreflect.Message, service *registry.Service, anys int) {
	redact.Rules{
		IsSecret: func(field protoreflect.FieldDescriptor) bool { return r.isMarked(field, service) },
		Any:      func(message protoreflect.Message) { r.clearAny(message, service, anys+1) },
	}.Apply(message)
}

func (r *Redactor) clearAny(message protoreflect.Message, service *registry.Service, anys int) {
	value := message.Descriptor().Fields().ByNumber(anyValue)
	if anys > maxAnys {
		message.Clear(value)
		return
	}
	inner, _, err := unpack(message, service)
	if err != nil {
		message.Clear(value)
		return
	}
	r.clear(inner.ProtoReflect(), service, anys)
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(inner)
	if err != nil {
		message.Clear(value)
		return
	}
	message.Set(value, protoreflect.ValueOfBytes(encoded))
}

type fieldOfService struct {
	field   protoreflect.FullName
	service *registry.Service
}

func (r *Redactor) isMarked(field protoreflect.FieldDescriptor, service *registry.Service) bool {
	key := fieldOfService{field.FullName(), service}
	if marked, ok := r.marked.Load(key); ok {
		return marked.(bool)
	}
	options, _ := field.Options().(*descriptorpb.FieldOptions)
	marked := slices.ContainsFunc(r.options, func(name string) bool { return hasOption(options, name, service) })
	r.marked.Store(key, marked)
	return marked
}

// hasOption reports whether a bool option of a field is true. In descriptors that were loaded at
// run time, the option may be an unknown field.
func hasOption(options *descriptorpb.FieldOptions, name string, service *registry.Service) bool {
	if options == nil {
		return false
	}
	if name == DebugRedact {
		return options.GetDebugRedact()
	}
	found := false
	options.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if string(field.FullName()) == name && field.Kind() == protoreflect.BoolKind && !field.IsList() {
			found = value.Bool()
		}
		return !found
	})
	if found {
		return true
	}
	extension, err := service.FindExtensionByName(protoreflect.FullName(name))
	if err != nil {
		return false
	}
	number := extension.TypeDescriptor().Number()
	_ = eachField(options.ProtoReflect().GetUnknown(), func(f field) error {
		found = found || f.number == number && f.uint != 0
		return nil
	})
	return found
}
