package mock

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// maxDepth is the nesting depth at which optional messages are no longer generated.
	maxDepth = 4
	// maxFields is the maximum number of fields that are set in a generated message and in the
	// messages inside it, in total. Messages that can contain each other would otherwise become
	// huge.
	maxFields = 5_000
	// attempts is the maximum number of messages that are generated to find one that passes
	// validation. If none does, the last one is used.
	attempts = 20
)

// Generate returns a message with random values. The same random numbers make the same message. The
// values follow most protovalidate rules for single fields. Because other rules may be violated,
// Generate makes up to 20 messages until one passes validation. If none passes, it returns the last
// one.
func Generate(service *registry.Service, of protoreflect.MessageDescriptor, random *rand.Rand) (proto.Message, error) {
	messageType, err := service.FindMessageByName(of.FullName())
	if err != nil {
		return nil, err
	}
	var message protoreflect.Message
	for range attempts {
		message = messageType.New()
		g := &generator{random: random, fields: maxFields}
		g.fill(message, 0)
		// If the rules of the schema do not compile, no message passes.
		if protovalidate.Validate(message.Interface()) == nil {
			break
		}
	}
	return message.Interface(), nil
}

// generator makes the values of one message.
type generator struct {
	random *rand.Rand
	// fields is the number of fields that may still be set.
	fields int
}

// fill sets the fields of a message.
func (g *generator) fill(message protoreflect.Message, depth int) {
	if g.fillWellKnown(message) {
		return
	}
	descriptor := message.Descriptor()
	for i := range descriptor.Oneofs().Len() {
		oneof := descriptor.Oneofs().Get(i)
		if !oneof.IsSynthetic() {
			g.fillField(message, oneof.Fields().Get(g.random.IntN(oneof.Fields().Len())), depth)
		}
	}
	for i := range descriptor.Fields().Len() {
		field := descriptor.Fields().Get(i)
		if oneof := field.ContainingOneof(); oneof == nil || oneof.IsSynthetic() {
			g.fillField(message, field, depth)
		}
	}
}

// fillField sets one field of a message.
func (g *generator) fillField(message protoreflect.Message, field protoreflect.FieldDescriptor, depth int) {
	if g.fields--; g.fields < 0 {
		return
	}
	rules, err := protovalidate.ResolveFieldRules(field)
	if err != nil || rules == nil {
		rules = &validate.FieldRules{}
	}
	required := field.Cardinality() == protoreflect.Required || rules.GetRequired()
	holdsMessage := field.Message() != nil && (!field.IsMap() || field.MapValue().Message() != nil)
	if rules.GetIgnore() == validate.Ignore_IGNORE_ALWAYS || holdsMessage && depth >= maxDepth && !required || depth > 2*maxDepth {
		return
	}
	switch {
	case field.IsMap():
		g.fillMap(message.Mutable(field).Map(), field, rules.GetMap(), depth)
	case field.IsList():
		g.fillList(message.Mutable(field).List(), field, rules.GetRepeated(), depth)
	case field.Message() != nil:
		g.fillMessage(message.Mutable(field).Message(), rules, depth)
	default:
		message.Set(field, g.scalar(field, rules))
	}
}

func (g *generator) fillMap(m protoreflect.Map, field protoreflect.FieldDescriptor, rules *validate.MapRules, depth int) {
	size := g.size(1, 2, limit(rules, "min_pairs"), limit(rules, "max_pairs"))
	// Two random keys may be equal, so there are more attempts than entries.
	for range 10 * size {
		if m.Len() >= size || g.fields < 0 {
			return
		}
		key := g.scalar(field.MapKey(), orNone(rules.GetKeys())).MapKey()
		if field.MapValue().Message() != nil {
			value := m.NewValue()
			g.fillMessage(value.Message(), orNone(rules.GetValues()), depth)
			m.Set(key, value)
			continue
		}
		m.Set(key, g.scalar(field.MapValue(), orNone(rules.GetValues())))
	}
}

func (g *generator) fillList(list protoreflect.List, field protoreflect.FieldDescriptor, rules *validate.RepeatedRules, depth int) {
	items := orNone(rules.GetItems())
	for range g.size(1, 3, limit(rules, "min_items"), limit(rules, "max_items")) {
		if field.Message() == nil {
			list.Append(g.scalar(field, items))
		} else if g.fields >= 0 {
			g.fillMessage(list.AppendMutable().Message(), items, depth)
		}
	}
}

// fillMessage sets the fields of a message inside another one. rules are the rules of the field
// that contains it. If the message is a wrapper such as StringValue, they apply to its value.
func (g *generator) fillMessage(message protoreflect.Message, rules *validate.FieldRules, depth int) {
	if value := wrapped(message.Descriptor()); value != nil {
		message.Set(value, g.scalar(value, rules))
		return
	}
	if g.fillTime(message, rules) {
		return
	}
	g.fill(message, depth+1)
}

// orNone returns rules, or empty rules if they are nil.
func orNone(rules *validate.FieldRules) *validate.FieldRules {
	if rules == nil {
		return &validate.FieldRules{}
	}
	return rules
}

// limit returns the value of the rule with the given name, such as max_len, or nil if the rule is
// not set.
func limit(rules proto.Message, name protoreflect.Name) *uint64 {
	message := rules.ProtoReflect()
	rule := message.Descriptor().Fields().ByName(name)
	if !message.Has(rule) {
		return nil
	}
	number := message.Get(rule).Uint()
	return &number
}

// size returns a random number from least to most, but at most 1000. lower and upper are the limits
// that the rules set, which take precedence. They may be nil.
func (g *generator) size(least, most uint64, lower, upper *uint64) int {
	if lower != nil {
		least, most = *lower, max(most, *lower)
	}
	if upper != nil {
		least, most = min(least, *upper), min(most, *upper)
	}
	const largest = 1000
	least, most = min(least, largest), min(most, largest)
	return int(least + g.random.Uint64N(most-least+1)) //nolint:gosec // at most 1000
}

// wrapped returns the field of a wrapper such as google.protobuf.StringValue, or nil.
func wrapped(message protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	if message.ParentFile().Path() != "google/protobuf/wrappers.proto" {
		return nil
	}
	return message.Fields().ByName("value")
}

// base is the earliest generated time. It is fixed, so that generated answers are the same in each
// run.
var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// fillWellKnown sets the fields of a well-known type, such as google.protobuf.Timestamp. It returns
// false for any other message.
func (g *generator) fillWellKnown(message protoreflect.Message) bool {
	descriptor := message.Descriptor()
	if g.fillTime(message, &validate.FieldRules{}) {
		return true
	}
	switch descriptor.FullName() {
	case "google.protobuf.Any", "google.protobuf.Empty", "google.protobuf.FieldMask", "google.protobuf.ListValue":
		return true
	case "google.protobuf.Struct":
		field := descriptor.Fields().ByName("fields")
		entries := message.Mutable(field).Map()
		value := entries.NewValue()
		g.fillWellKnown(value.Message())
		entries.Set(protoreflect.ValueOfString(g.word()).MapKey(), value)
		return true
	case "google.protobuf.Value":
		message.Set(descriptor.Fields().ByName("string_value"), protoreflect.ValueOfString(g.word()))
		return true
	default:
		return false
	}
}

// fillTime sets the fields of a timestamp or a duration. It returns false for any other message.
func (g *generator) fillTime(message protoreflect.Message, rules *validate.FieldRules) bool {
	var seconds int64
	switch message.Descriptor().FullName() {
	case "google.protobuf.Timestamp":
		seconds = base.Unix() + g.random.Int64N(365*24*60*60)
	case "google.protobuf.Duration":
		low, high := int64(1), int64(3600)
		if d := rules.GetDuration(); d != nil {
			low, high = secondsBetween(d, low, high)
		}
		seconds = low + g.random.Int64N(max(high-low, 0)+1)
	default:
		return false
	}
	message.Set(message.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(seconds))
	return true
}

// secondsBetween returns the shortest and the longest duration that the rules allow, in whole
// seconds. low and high are used where the rules set no limit.
func secondsBetween(rules *validate.DurationRules, low, high int64) (least, most int64) {
	least, most = low, high
	switch {
	case rules.GetConst() != nil:
		return rules.GetConst().GetSeconds(), rules.GetConst().GetSeconds()
	case len(rules.GetIn()) > 0:
		return rules.GetIn()[0].GetSeconds(), rules.GetIn()[0].GetSeconds()
	}
	if rules.GetGte() != nil {
		least = rules.GetGte().GetSeconds()
	}
	if rules.GetGt() != nil {
		least = rules.GetGt().GetSeconds() + 1
	}
	most = max(most, least)
	if rules.GetLte() != nil {
		most = rules.GetLte().GetSeconds()
	}
	if rules.GetLt() != nil {
		most = rules.GetLt().GetSeconds() - 1
	}
	return min(least, most), most
}

var (
	words = strings.Fields("amber basil cedar delta ember fjord grove hazel indigo juniper kestrel lagoon maple nectar " +
		"onyx pebble quartz river saffron tulip umber violet willow xenon yarrow zephyr")
	names = strings.Fields("Ada Alan Barbara Claude Dennis Edsger Frances Grace Hedy Ivan John Katherine Leslie Margaret Niklaus " +
		"Radia Shafi Tim")
	cities = strings.Fields("Berlin Cairo Dakar Hanoi Lima Lisbon Nairobi Osaka Oslo Quito Tallinn Toronto")
)

func (g *generator) word() string { return words[g.random.IntN(len(words))] }

// named returns a text that suits a field's name. The last word of the name decides.
func (g *generator) named(field string) string {
	field = strings.ToLower(field)
	switch field[strings.LastIndexByte(field, '_')+1:] {
	case "id", "uid", "key", "token":
		return fmt.Sprintf("%s-%04x", g.word(), g.random.IntN(1<<16))
	case "uuid", "guid":
		return g.uuid()
	case "name", "user", "author", "owner":
		return names[g.random.IntN(len(names))]
	case "email", "mail":
		return g.email()
	case "url", "uri", "link":
		return g.url()
	case "host", "hostname", "domain":
		return g.hostname()
	case "city", "place", "region":
		return cities[g.random.IntN(len(cities))]
	case "phone":
		return fmt.Sprintf("+1555%07d", g.random.IntN(10_000_000))
	default:
		return g.word() + " " + g.word()
	}
}

func (g *generator) url() string      { return "https://" + g.hostname() + "/" + g.word() }
func (g *generator) hostname() string { return g.word() + ".example.com" }
func (g *generator) email() string    { return g.word() + "@example.com" }

func (g *generator) uuid() string {
	high, low := g.random.Uint64(), g.random.Uint64()
	high = high&^0xf000 | 0x4000
	low = low&^(3<<62) | 2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xffff, high&0xffff, low>>48, low&(1<<48-1))
}
