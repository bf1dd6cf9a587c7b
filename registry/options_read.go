package registry

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// optionsField is the field number of the psrpc extension in google.protobuf.MethodOptions.
const optionsField protowire.Number = 2198

// These are the field numbers of psrpc.Options.
const (
	fieldSubscription protowire.Number = 1
	fieldTopics       protowire.Number = 2
	fieldTopicParams  protowire.Number = 3
	fieldStream       protowire.Number = 4
	fieldMulti        protowire.Number = 5
	fieldAffinityFunc protowire.Number = 6
	fieldQueue        protowire.Number = 7
	fieldType         protowire.Number = 8
)

// olderRouting contains the names of the older options, which form the oneof "routing". If one of
// them is present, it determines the routing, and the option "type" has no effect.
var olderRouting = map[protowire.Number]string{
	fieldMulti: RoutingMulti.String(), fieldAffinityFunc: "affinity_func", fieldQueue: RoutingQueue.String(),
}

// These are the field numbers of psrpc.TopicParamOptions.
const (
	fieldGroup        protowire.Number = 1
	fieldNames        protowire.Number = 2
	fieldSingleServer protowire.Number = 4
)

// methodOptions holds the psrpc options of a method. The zero value represents a method without
// options.
type methodOptions struct {
	// present reports whether the method has psrpc options. The options may be empty.
	present      bool
	subscription bool
	topics       bool
	stream       bool
	// routingType is the enum value of the option "type".
	routingType int32
	// routingOneof is the field number of the older option that determines the routing: the last
	// member of the oneof "routing" that was read. It is 0 if no member is present.
	routingOneof protowire.Number
	// routingOneofValue is the value of that option. Only Lint uses it, because the value does not
	// affect the routing.
	routingOneofValue bool
	group             string
	topicNames        []string
	singleServer      bool
}

// readOptions reads the psrpc options of md. It encodes the options message and then parses the
// bytes, because an extension field has the same encoding whether it is typed, dynamic or unknown.
func readOptions(md protoreflect.MethodDescriptor) (methodOptions, error) {
	raw, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(md.Options())
	if err != nil {
		return methodOptions{}, fmt.Errorf("method options cannot be encoded: %w", err)
	}
	options, err := parseMethodOptions(raw)
	if err != nil {
		return methodOptions{}, fmt.Errorf("psrpc options are malformed: %w", err)
	}
	return options, nil
}

// parseMethodOptions parses an encoded google.protobuf.MethodOptions message. If the psrpc
// extension occurs more than once, the occurrences are merged, as protobuf specifies for message
// fields.
func parseMethodOptions(raw []byte) (methodOptions, error) {
	var options methodOptions
	err := rangeFields(raw, func(f wireField) error {
		if !f.matches(optionsField, protowire.BytesType) {
			return nil
		}
		options.present = true
		return options.merge(f.bytes)
	})
	return options, err
}

// merge parses an encoded psrpc.Options message and merges its fields into o.
func (o *methodOptions) merge(raw []byte) error {
	return rangeFields(raw, func(f wireField) error {
		switch {
		case f.matches(fieldSubscription, protowire.VarintType):
			o.subscription = f.bool()
		case f.matches(fieldTopics, protowire.VarintType):
			o.topics = f.bool()
		case f.matches(fieldTopicParams, protowire.BytesType):
			return o.mergeTopicParams(f.bytes)
		case f.matches(fieldStream, protowire.VarintType):
			o.stream = f.bool()
		case f.matches(fieldMulti, protowire.VarintType),
			f.matches(fieldAffinityFunc, protowire.VarintType),
			f.matches(fieldQueue, protowire.VarintType):
			// psrpc checks only which member of the oneof is present and ignores its value.
			o.routingOneof, o.routingOneofValue = f.number, f.bool()
		case f.matches(fieldType, protowire.VarintType):
			o.routingType = int32(f.varint) //nolint:gosec // protobuf truncates enum values to 32 bits.
		}
		return nil
	})
}

// mergeTopicParams parses an encoded psrpc.TopicParamOptions message and merges its fields into o.
// It ignores the field "typed", which affects only generated Go code.
func (o *methodOptions) mergeTopicParams(raw []byte) error {
	return rangeFields(raw, func(f wireField) error {
		switch {
		case f.matches(fieldGroup, protowire.BytesType):
			o.group = string(f.bytes)
			return checkUTF8("topic_params.group", f.bytes)
		case f.matches(fieldNames, protowire.BytesType):
			o.topicNames = append(o.topicNames, string(f.bytes))
			return checkUTF8("topic_params.names", f.bytes)
		case f.matches(fieldSingleServer, protowire.VarintType):
			o.singleServer = f.bool()
		}
		return nil
	})
}

// routing returns the routing of the method. The older options, which form the oneof "routing"
// (multi, affinity_func, queue), take precedence over the newer option "type".
func (o *methodOptions) routing() (Routing, error) {
	routing := Routing(o.routingType) //nolint:gosec // the next line checks the range.
	if o.routingType < int32(RoutingQueue) || o.routingType > int32(RoutingMulti) {
		return 0, fmt.Errorf("option (psrpc.options).type has the unknown value %d: use QUEUE (0), AFFINITY (1) or MULTI (2)",
			o.routingType)
	}
	switch o.routingOneof {
	case fieldMulti:
		return RoutingMulti, nil
	case fieldAffinityFunc:
		return RoutingAffinity, nil
	case fieldQueue:
		return RoutingQueue, nil
	default:
		return routing, nil
	}
}

// wireField is one field of an encoded message. varint is the value of a varint field, and bytes
// that of a length-delimited field. Other values are not stored.
type wireField struct {
	number   protowire.Number
	wireType protowire.Type
	varint   uint64
	bytes    []byte
}

// matches reports whether f has the given number and wire type. As in every protobuf decoder, a
// field with a different wire type is treated as an unknown field.
func (f wireField) matches(number protowire.Number, wireType protowire.Type) bool {
	return f.number == number && f.wireType == wireType
}

func (f wireField) bool() bool { return protowire.DecodeBool(f.varint) }

// rangeFields calls visit for each field of an encoded message, in order, until visit returns an
// error.
func rangeFields(raw []byte, visit func(wireField) error) error {
	for len(raw) > 0 {
		var f wireField
		var n int
		f.number, f.wireType, n = protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		switch f.wireType {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(f.number, f.wireType, raw)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

func checkUTF8(field string, value []byte) error {
	if !utf8.Valid(value) {
		return errors.New(field + " is not valid UTF-8")
	}
	return nil
}
