package mock

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// scalar returns a value for a field that is not a message. For a repeated field, it returns one
// element.
func (g *generator) scalar(field protoreflect.FieldDescriptor, rules *validate.FieldRules) protoreflect.Value {
	// The oneof named "type" holds the rules for the type of the field, such as const, in, gte and
	// max_len.
	typed := typeRules{}
	if set := rules.ProtoReflect(); set.IsValid() {
		if which := set.WhichOneof(set.Descriptor().Oneofs().ByName("type")); which != nil {
			typed.rules = set.Get(which).Message()
		}
	}
	if value, ok := g.given(typed, field); ok {
		return value
	}
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(g.random.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(g.enum(field.Enum(), rules.GetEnum()))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(g.text(string(field.Name()), rules.GetString()))
	case protoreflect.BytesKind:
		bytes := rules.GetBytes()
		if bytes.GetLen() > 0 {
			return protoreflect.ValueOfBytes([]byte(g.letters(int(min(bytes.GetLen(), maxText)))))
		}
		return protoreflect.ValueOfBytes([]byte(g.letters(g.size(4, 12, limit(bytes, "min_len"), limit(bytes, "max_len")))))
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		low, high := typed.floats(0, 1000)
		number := low + g.random.Float64()*(high-low)
		if field.Kind() == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(number))
		}
		return protoreflect.ValueOfFloat64(number)
	default:
		return g.integer(field, typed)
	}
}

// maxText is the longest text that is generated.
const maxText = 64 << 10

func (g *generator) integer(field protoreflect.FieldDescriptor, typed typeRules) protoreflect.Value {
	low, high := typed.integers(1, 1000)
	number := low + g.random.Int64N(max(high-low, 0)+1)
	switch field.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(max(math.MinInt32, min(math.MaxInt32, number))))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(max(0, min(math.MaxUint32, number))))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(max(0, number)))
	default:
		return protoreflect.ValueOfInt64(number)
	}
}

// enum returns a value of an enum. It avoids zero if it can, because zero usually stands for
// "unspecified".
func (g *generator) enum(enum protoreflect.EnumDescriptor, rules *validate.EnumRules) protoreflect.EnumNumber {
	var numbers []protoreflect.EnumNumber
	for i := range enum.Values().Len() {
		number := enum.Values().Get(i).Number()
		if number != 0 && !slices.Contains(rules.GetNotIn(), int32(number)) {
			numbers = append(numbers, number)
		}
	}
	if len(numbers) == 0 {
		return 0
	}
	return numbers[g.random.IntN(len(numbers))]
}

// text returns a text that keeps to the rules of a field.
func (g *generator) text(field string, rules *validate.StringRules) string {
	if rules == nil {
		return g.named(field)
	}
	switch {
	case rules.GetEmail():
		return g.email()
	case rules.GetUuid():
		return g.uuid()
	case rules.GetTuuid():
		return strings.ReplaceAll(g.uuid(), "-", "")
	case rules.GetHostname(), rules.GetAddress():
		return g.hostname()
	case rules.GetIp(), rules.GetIpv4():
		return fmt.Sprintf("192.0.2.%d", 1+g.random.IntN(254))
	case rules.GetIpv6():
		return fmt.Sprintf("2001:db8::%x", 1+g.random.IntN(1<<16-1))
	case rules.GetUri(), rules.GetUriRef():
		return g.url()
	case rules.GetHostAndPort():
		return g.hostname() + ":8080"
	case rules.GetPattern() != "":
		return g.matching(rules.GetPattern())
	}
	text := rules.GetPrefix() + rules.GetContains() + g.named(field) + rules.GetSuffix()
	least, most := rules.GetMinLen(), uint64(maxText)
	for _, name := range []protoreflect.Name{"max_len", "max_bytes"} {
		if n := limit(rules, name); n != nil {
			most = min(most, *n)
		}
	}
	least = max(least, rules.GetMinBytes())
	if n := limit(rules, "len"); n != nil {
		least, most = *n, *n
	}
	least = min(least, maxText)
	if uint64(len(text)) < least {
		text += g.letters(int(least) - len(text))
	}
	if uint64(len(text)) > most {
		text = text[:most]
	}
	return text
}

const alphabet = "abcdefghijklmnopqrstuvwxyz"

// letters returns a text of n random letters.
func (g *generator) letters(n int) string {
	letters := make([]byte, n)
	for i := range letters {
		letters[i] = alphabet[g.random.IntN(len(alphabet))]
	}
	return string(letters)
}

// typeRules wraps the rules for a type, such as validate.Int32Rules. Its field is nil if there are
// none.
type typeRules struct{ rules protoreflect.Message }

// get returns the value of a rule, or false if it is not set.
func (t typeRules) get(name protoreflect.Name) (protoreflect.Value, bool) {
	if t.rules == nil {
		return protoreflect.Value{}, false
	}
	field := t.rules.Descriptor().Fields().ByName(name)
	if field == nil || !t.rules.Has(field) {
		return protoreflect.Value{}, false
	}
	return t.rules.Get(field), true
}

// given returns a value that the rules themselves contain: the value of const, a value of in, or an
// example. It returns false if they contain none.
func (g *generator) given(t typeRules, field protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	if value, ok := t.get("const"); ok {
		return ofKind(value, field)
	}
	for _, name := range []protoreflect.Name{"in", "example"} {
		if values, ok := t.get(name); ok && values.List().Len() > 0 {
			return ofKind(values.List().Get(g.random.IntN(values.List().Len())), field)
		}
	}
	return protoreflect.Value{}, false
}

// ofKind converts a value in a rule to a value of the field. It returns false if the value does not
// suit the field. A rule for an enum contains a number, which is converted to an enum value.
func ofKind(value protoreflect.Value, field protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	if field.Kind() == protoreflect.EnumKind {
		number, ok := value.Interface().(int32)
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(number)), ok
	}
	if _, isMessage := value.Interface().(protoreflect.Message); isMessage {
		return value, false
	}
	return value, true
}

// integers returns the lowest and the highest number that the rules allow. low and high stand for
// limits that the rules do not set. If low or high contradicts the other limit, it is replaced by a
// number that fits that limit.
func (t typeRules) integers(low, high int64) (least, most int64) {
	number := func(name protoreflect.Name) (int64, bool) {
		value, ok := t.get(name)
		if !ok {
			return 0, false
		}
		switch n := value.Interface().(type) {
		case int32:
			return int64(n), true
		case int64:
			return n, true
		case uint32:
			return int64(n), true
		case uint64:
			return int64(min(n, math.MaxInt64)), true
		default:
			return 0, false
		}
	}
	least, most = low, high
	if n, ok := number("gte"); ok {
		least = n
	}
	if n, ok := number("gt"); ok && n < math.MaxInt64 {
		least = n + 1
	}
	upper, limited := number("lte")
	if n, ok := number("lt"); ok && n > math.MinInt64 {
		upper, limited = n-1, true
	}
	switch {
	case limited:
		most, least = upper, min(least, upper)
	case most < least && least <= math.MaxInt64-1000:
		most = least + 1000
	case most < least:
		most = least
	}
	if most-least < 0 {
		most = least + 1000 // The difference has overflowed.
	}
	return least, most
}

// floats is like integers, but for floating-point numbers.
func (t typeRules) floats(low, high float64) (least, most float64) {
	number := func(name protoreflect.Name) (float64, bool) {
		value, ok := t.get(name)
		if !ok {
			return 0, false
		}
		switch n := value.Interface().(type) {
		case float32:
			return float64(n), true
		case float64:
			return n, true
		default:
			return 0, false
		}
	}
	least, most = low, high
	for _, name := range []protoreflect.Name{"gte", "gt"} {
		if n, ok := number(name); ok {
			least = n
		}
	}
	most = max(most, least+1)
	for _, name := range []protoreflect.Name{"lte", "lt"} {
		if n, ok := number(name); ok {
			most = n
			if least > most {
				least = most - 1
			}
		}
	}
	return least, most
}
