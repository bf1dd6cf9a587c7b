package message

import "google.golang.org/protobuf/reflect/protoreflect"

// hasNoRequired returns true if neither messages with this descriptor nor messages nested in them
// can have required fields. It returns false if any of them has extension ranges, because
// extensions may contain required fields.
func hasNoRequired(message protoreflect.MessageDescriptor) bool {
	return !anyMessage(message, map[protoreflect.FullName]bool{}, func(md protoreflect.MessageDescriptor) bool {
		return md.RequiredNumbers().Len() > 0 || md.ExtensionRanges().Len() > 0
	})
}

// isExtensible reports whether a message, or a message nested in it, may contain extensions.
func isExtensible(message protoreflect.MessageDescriptor) bool {
	return anyMessage(message, map[protoreflect.FullName]bool{}, func(md protoreflect.MessageDescriptor) bool {
		return md.ExtensionRanges().Len() > 0
	})
}

// anyMessage reports whether the function match returns true for message or for any message type
// that its fields contain, directly or indirectly. seen holds the message types that have already
// been searched. anyMessage skips these types, and adds each type that it searches.
func anyMessage(
	message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool,
	match func(protoreflect.MessageDescriptor) bool,
) bool {
	if seen[message.FullName()] {
		return false
	}
	seen[message.FullName()] = true
	if match(message) {
		return true
	}
	fields := message.Fields()
	for i := range fields.Len() {
		if inner := fields.Get(i).Message(); inner != nil && anyMessage(inner, seen, match) {
			return true
		}
	}
	return false
}
