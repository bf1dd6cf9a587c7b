package message

import "google.golang.org/protobuf/reflect/protoreflect"

// hasNoRequired reports whether a message can never lack a required field.
func hasNoRequired(message protoreflect.MessageDescriptor) bool {
	return !mayRequire(message, map[protoreflect.FullName]bool{})
}

// mayRequire reports whether a message, or a message nested in it, may have required fields.
// Messages in seen count as having none: they were searched already. A message with extension
// ranges may, because an extension may contain required fields and is not known from the
// descriptor.
func mayRequire(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[message.FullName()] {
		return false
	}
	seen[message.FullName()] = true
	if message.RequiredNumbers().Len() > 0 || message.ExtensionRanges().Len() > 0 {
		return true
	}
	fields := message.Fields()
	for i := range fields.Len() {
		if inner := fields.Get(i).Message(); inner != nil && mayRequire(inner, seen) {
			return true
		}
	}
	return false
}
