package redact

import "google.golang.org/protobuf/reflect/protoreflect"

// Text replaces the value of a secret field that is a single string.
const Text = "[redacted]"

// anyName is the name of the message type that contains another message of any type.
const anyName = "google.protobuf.Any"

// Rules determine which values are secret.
type Rules struct {
	// IsSecret reports whether the value of a field must not be shown.
	IsSecret func(field protoreflect.FieldDescriptor) bool
	// Any removes the secrets of the message in a google.protobuf.Any, or the whole message if its
	// type is not known.
	Any func(message protoreflect.Message)
}

// Apply changes a message and all messages in it. It replaces a secret single string with [Text],
// and clears all other secret fields. It also clears fields that are not in the descriptor, because
// they may be secret.
func (r Rules) Apply(message protoreflect.Message) {
	if !message.IsValid() {
		return
	}
	message.SetUnknown(nil)
	if message.Descriptor().FullName() == anyName {
		r.Any(message)
		return
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case !r.IsSecret(field):
			r.applyInside(field, value)
		case field.Kind() == protoreflect.StringKind && field.Cardinality() != protoreflect.Repeated:
			message.Set(field, protoreflect.ValueOfString(Text))
		default:
			message.Clear(field)
		}
		return true
	})
}

// applyInside applies the rules to the messages in the value of a field.
func (r Rules) applyInside(field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch {
	case field.IsMap():
		if field.MapValue().Message() != nil {
			value.Map().Range(func(_ protoreflect.MapKey, element protoreflect.Value) bool {
				r.Apply(element.Message())
				return true
			})
		}
	case field.Message() == nil:
	case field.IsList():
		for i := range value.List().Len() {
			r.Apply(value.List().Get(i).Message())
		}
	default:
		r.Apply(value.Message())
	}
}

// HasDebugRedact reports whether a field has the option debug_redact, which protobuf itself defines
// for secret fields. The message with the options may be generated or dynamic.
func HasDebugRedact(field protoreflect.FieldDescriptor) bool {
	options := field.Options().ProtoReflect()
	option := options.Descriptor().Fields().ByName("debug_redact")
	return option != nil && options.Get(option).Bool()
}
