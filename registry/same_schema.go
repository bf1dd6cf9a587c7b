package registry

import "google.golang.org/protobuf/reflect/protoreflect"

// schemaComparison compares declarations with the same name from two schemas, such as a registered
// message and the message of a generated Go type. Two declarations are the same if every encoded
// message has the same meaning in both. Comments, file paths and options that do not affect the
// encoding are ignored. The keys of the map are the names of the messages and enums whose
// comparison has begun, so that the comparison of a recursive message ends.
type schemaComparison map[protoreflect.FullName]bool

// message reports whether two messages of the same name are the same, including the messages and
// enums of their fields.
func (c schemaComparison) message(a, b protoreflect.MessageDescriptor) bool {
	if a == b || c[a.FullName()] {
		return true
	}
	c[a.FullName()] = true
	fields, others := a.Fields(), b.Fields()
	if fields.Len() != others.Len() || !sameRanges(a.ExtensionRanges(), b.ExtensionRanges()) {
		return false
	}
	for i := range fields.Len() {
		other := others.ByNumber(fields.Get(i).Number())
		if other == nil || !c.field(fields.Get(i), other) {
			return false
		}
	}
	return true
}

// field reports whether two fields or extensions are the same.
func (c schemaComparison) field(a, b protoreflect.FieldDescriptor) bool {
	return a == b || a.Number() == b.Number() && a.Name() == b.Name() && a.JSONName() == b.JSONName() &&
		a.Kind() == b.Kind() && a.Cardinality() == b.Cardinality() && a.HasPresence() == b.HasPresence() &&
		a.IsMap() == b.IsMap() && a.IsPacked() == b.IsPacked() && enforcesUTF8(a) == enforcesUTF8(b) &&
		a.ContainingMessage().FullName() == b.ContainingMessage().FullName() &&
		sameOneof(a.ContainingOneof(), b.ContainingOneof()) && sameDefault(a, b) && c.fieldType(a, b)
}

// fieldType reports whether the messages or enums that are the types of two fields are the same.
func (c schemaComparison) fieldType(a, b protoreflect.FieldDescriptor) bool {
	if message, other := a.Message(), b.Message(); message != nil {
		return message.FullName() == other.FullName() && c.message(message, other)
	}
	if enum, other := a.Enum(), b.Enum(); enum != nil {
		return enum.FullName() == other.FullName() && c.enum(enum, other)
	}
	return true
}

// enum reports whether two enums are the same.
func (c schemaComparison) enum(a, b protoreflect.EnumDescriptor) bool {
	if a == b || c[a.FullName()] {
		return true
	}
	c[a.FullName()] = true
	values, others := a.Values(), b.Values()
	if values.Len() != others.Len() || a.IsClosed() != b.IsClosed() {
		return false
	}
	for i := range values.Len() {
		other := others.ByName(values.Get(i).Name())
		if other == nil || other.Number() != values.Get(i).Number() {
			return false
		}
	}
	return true
}

func sameRanges(a, b protoreflect.FieldRanges) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if a.Get(i) != b.Get(i) {
			return false
		}
	}
	return true
}

func sameOneof(a, b protoreflect.OneofDescriptor) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Name() == b.Name()
}

func sameDefault(a, b protoreflect.FieldDescriptor) bool {
	return a.HasDefault() == b.HasDefault() && (!a.HasDefault() || a.Default().Equal(b.Default()))
}

// enforcesUTF8 reports whether protobuf-go rejects values of a field that are not valid UTF-8.
// protobuf-go has no public function that reports this.
func enforcesUTF8(fd protoreflect.FieldDescriptor) bool {
	if fd.Kind() != protoreflect.StringKind {
		return false
	}
	if fd, ok := fd.(interface{ EnforceUTF8() bool }); ok {
		return fd.EnforceUTF8()
	}
	return fd.Syntax() == protoreflect.Proto3
}
