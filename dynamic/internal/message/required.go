package message

import "google.golang.org/protobuf/reflect/protoreflect"

// hasNoRequired reports whether messages with this descriptor cannot contain required fields, not
// even in nested messages or extensions.
func hasNoRequired(message protoreflect.MessageDescriptor) bool {
	return !mayRequire(message, map[protoreflect.FullName]bool{})
}

// mayRequire reports whether a message, or a message nested in it, may have required fields. It
// returns false for messages in seen, which have already been searched. It returns true for
// messages with extension ranges: the descriptor does not list the extensions, and these may
// contain required fields.
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

// isExtensible reports whether a message, or a message nested in it, may contain extensions.
func isExtensible(message protoreflect.MessageDescriptor) bool {
	return mayExtend(message, map[protoreflect.FullName]bool{})
}

// mayExtend is like isExtensible but returns false for messages in seen, which have already been
// searched.
func mayExtend(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[message.FullName()] {
		return false
	}
	seen[message.FullName()] = true
	if message.ExtensionRanges().Len() > 0 {
		return true
	}
	fields := message.Fields()
	for i := range fields.Len() {
		if inner := fields.Get(i).Message(); inner != nil && mayExtend(inner, seen) {
			return true
		}
	}
	return false
}
