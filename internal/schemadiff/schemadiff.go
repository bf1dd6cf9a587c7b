package schemadiff

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A Difference is one way in which two versions of a service differ.
type Difference struct {
	// Where is the full name of the method, field or enum value.
	Where string `json:"where"`
	// What describes how the new version differs from the old one.
	What string `json:"what"`
	// Breaking is set if peers with different versions misunderstand each other.
	Breaking bool `json:"breaking"`
}

// String returns the place and the description.
func (d Difference) String() string { return d.Where + " " + d.What }

// Compare compares the methods of two versions of a service, and the fields and enum values of all
// messages that the methods use. It does not compare the psrpc options of the methods: servers
// report the options that they use, and psrpc doctor compares the reports.
func Compare(older, newer protoreflect.ServiceDescriptor) []Difference {
	c := comparison{compared: make(map[protoreflect.FullName]bool)}
	c.service(older, newer)
	return c.found
}

// comparison collects the differences of two versions.
type comparison struct {
	found []Difference
	// compared contains the messages and enums that have been compared. It prevents endless
	// recursion if messages refer to each other.
	compared map[protoreflect.FullName]bool
}

func (c *comparison) addf(breaking bool, where protoreflect.FullName, format string, args ...any) {
	c.found = append(c.found, Difference{Where: string(where), What: fmt.Sprintf(format, args...), Breaking: breaking})
}

func (c *comparison) service(older, newer protoreflect.ServiceDescriptor) {
	for i := range older.Methods().Len() {
		method := older.Methods().Get(i)
		other := newer.Methods().ByName(method.Name())
		if other == nil {
			c.addf(true, method.FullName(), "was removed in the new version")
			continue
		}
		c.methodMessage(method.FullName(), "request", method.Input(), other.Input())
		c.methodMessage(method.FullName(), "response", method.Output(), other.Output())
	}
	for i := range newer.Methods().Len() {
		method := newer.Methods().Get(i)
		if older.Methods().ByName(method.Name()) == nil {
			c.addf(false, method.FullName(), "was added in the new version")
		}
	}
}

// methodMessage compares the request or the response of a method.
func (c *comparison) methodMessage(method protoreflect.FullName, role string, older, newer protoreflect.MessageDescriptor) {
	if older.FullName() != newer.FullName() {
		c.addf(true, method, "has the %s %s in the old version and %s in the new one", role, older.FullName(), newer.FullName())
		return
	}
	c.message(older, newer)
}

func (c *comparison) message(older, newer protoreflect.MessageDescriptor) {
	if c.compared[older.FullName()] {
		return
	}
	c.compared[older.FullName()] = true
	for i := range older.Fields().Len() {
		c.field(older.Fields().Get(i), newer)
	}
	for i := range newer.Fields().Len() {
		field := newer.Fields().Get(i)
		if older.Fields().ByNumber(field.Number()) == nil && older.Fields().ByName(field.Name()) == nil {
			c.addf(false, field.FullName(), "was added in the new version")
		}
	}
}

// field compares a field of the old version with the field of the new version that has the same
// name or number.
func (c *comparison) field(older protoreflect.FieldDescriptor, message protoreflect.MessageDescriptor) {
	number := older.Number()
	if named := message.Fields().ByName(older.Name()); named != nil && named.Number() != number {
		c.addf(true, older.FullName(), "has number %d in the old version and %d in the new one", number, named.Number())
		return
	}
	newer := message.Fields().ByNumber(number)
	if newer == nil {
		reserved := message.ReservedRanges().Has(number)
		c.addf(!reserved, older.FullName(), "was removed in the new version%s", reservedNote(reserved, int32(number)))
		return
	}
	if was, is := typeOf(older), typeOf(newer); was != is {
		c.addf(true, older.FullName(), "is %s in the old version and %s in the new one", was, is)
		return
	}
	if older.Name() != newer.Name() {
		c.addf(false, older.FullName(), "is named %s in the new version, so that JSON differs", newer.Name())
	}
	c.fieldType(older, newer)
}

// reservedNote says whether the new version reserves the number of a removed field or value.
func reservedNote(reserved bool, number int32) string {
	if reserved {
		return ", which reserves its number"
	}
	return fmt.Sprintf(", which does not reserve its number %d", number)
}

// fieldType compares the messages or enums in two fields whose types have the same name.
func (c *comparison) fieldType(older, newer protoreflect.FieldDescriptor) {
	switch {
	case older.IsMap():
		c.fieldType(older.MapValue(), newer.MapValue())
	case older.Message() != nil:
		c.message(older.Message(), newer.Message())
	case older.Enum() != nil:
		c.enum(older.Enum(), newer.Enum())
	}
}

func (c *comparison) enum(older, newer protoreflect.EnumDescriptor) {
	if c.compared[older.FullName()] {
		return
	}
	c.compared[older.FullName()] = true
	for i := range older.Values().Len() {
		c.enumValue(older.Values().Get(i), newer)
	}
	for i := range newer.Values().Len() {
		value := newer.Values().Get(i)
		if older.Values().ByNumber(value.Number()) == nil && older.Values().ByName(value.Name()) == nil {
			c.addf(false, value.FullName(), "was added in the new version")
		}
	}
}

// enumValue compares a value of the old version with the value of the new version that has the same
// name or number.
func (c *comparison) enumValue(older protoreflect.EnumValueDescriptor, enum protoreflect.EnumDescriptor) {
	number := older.Number()
	if named := enum.Values().ByName(older.Name()); named != nil {
		if named.Number() != number {
			c.addf(true, older.FullName(), "has number %d in the old version and %d in the new one", number, named.Number())
		}
		return
	}
	if newer := enum.Values().ByNumber(number); newer != nil {
		c.addf(false, older.FullName(), "is named %s in the new version, so that JSON differs", newer.Name())
		return
	}
	reserved := enum.ReservedRanges().Has(number)
	c.addf(!reserved, older.FullName(), "was removed in the new version%s", reservedNote(reserved, int32(number)))
}

// typeOf returns the type of a field as it is written in a .proto file, for example "repeated
// string" or "map<string, shop.Item>".
func typeOf(field protoreflect.FieldDescriptor) string {
	if field.IsMap() {
		return fmt.Sprintf("map<%s, %s>", typeOf(field.MapKey()), typeOf(field.MapValue()))
	}
	name := field.Kind().String()
	if message := field.Message(); message != nil {
		name = string(message.FullName())
	} else if enum := field.Enum(); enum != nil {
		name = string(enum.FullName())
	}
	if field.IsList() {
		return "repeated " + name
	}
	return name
}
