package recording

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Difference is a field whose recorded and new values differ.
type Difference struct {
	// Path names the field, such as items[2].price or tags["x"].
	Path string `json:"path"`
	// Want is the recorded value as text, and Got is the new one. They are "" if there is no value.
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Values contains the fields of a message that have a value. It maps the path of the field to the
// value as text.
type Values map[string]string

// ValuesOf returns the values of a message. A field with an empty message counts as one value. The
// service provides the types of the messages in fields of type Any.
func ValuesOf(message proto.Message, service *registry.Service) Values {
	values := Values{}
	values.addMessage("", message.ProtoReflect(), service)
	delete(values, "")
	return values
}

// emptyMessage is the value of a field with an empty message.
const emptyMessage = "{}"

func (v Values) addMessage(path string, message protoreflect.Message, service *registry.Service) {
	if isAny(message) {
		if inner, url, err := unpack(message, service); err == nil {
			v[join(path, "@type")] = url
			v.addMessage(path, inner.ProtoReflect(), service)
			return
		}
	}
	empty := true
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		empty = false
		v.addField(join(path, field.TextName()), field, value, service)
		return true
	})
	if empty {
		v[path] = emptyMessage
	}
}

func (v Values) addField(path string, field protoreflect.FieldDescriptor, value protoreflect.Value, service *registry.Service) {
	switch {
	case field.IsList():
		for i := range value.List().Len() {
			v.addValue(fmt.Sprintf("%s[%d]", path, i), field, value.List().Get(i), service)
		}
	case field.IsMap():
		value.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
			text := key.String()
			if field.MapKey().Kind() == protoreflect.StringKind {
				text = strconv.Quote(text)
			}
			v.addValue(fmt.Sprintf("%s[%s]", path, text), field.MapValue(), value, service)
			return true
		})
	default:
		v.addValue(path, field, value, service)
	}
}

func (v Values) addValue(path string, field protoreflect.FieldDescriptor, value protoreflect.Value, service *registry.Service) {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		v.addMessage(path, value.Message(), service)
	case protoreflect.EnumKind:
		if name := field.Enum().Values().ByNumber(value.Enum()); name != nil {
			v[path] = string(name.Name())
			return
		}
		v[path] = strconv.Itoa(int(value.Enum()))
	case protoreflect.BytesKind:
		v[path] = base64.StdEncoding.EncodeToString(value.Bytes())
	case protoreflect.StringKind:
		v[path] = strconv.Quote(value.String())
	default:
		v[path] = value.String()
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Ignore decides which differences do not matter.
type Ignore []*regexp.Regexp

// NewIgnore returns an Ignore for patterns. A pattern is the path of a field, and it also ignores
// everything inside that field. [*] stands for any index or key. * stands for any name or part of a
// name.
func NewIgnore(patterns ...string) Ignore {
	var ignore Ignore
	for _, pattern := range patterns {
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.ReplaceAll(quoted, `\[\*\]`, `\[[^\]]*\]`)
		quoted = strings.ReplaceAll(quoted, `\*`, `[^.\[]*`)
		ignore = append(ignore, regexp.MustCompile("^"+quoted+`($|[.\[])`))
	}
	return ignore
}

func (i Ignore) matches(path string) bool {
	return slices.ContainsFunc(i, func(pattern *regexp.Regexp) bool { return pattern.MatchString(path) })
}

// Diff returns the differences between the recorded and the new values, sorted by path.
func Diff(want, got Values, ignore Ignore) []Difference {
	paths := map[string]bool{}
	for path, value := range want {
		if other, ok := got[path]; !ok || other != value {
			paths[path] = true
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			paths[path] = true
		}
	}
	var differences []Difference
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if !ignore.matches(path) {
			differences = append(differences, Difference{Path: path, Want: want[path], Got: got[path]})
		}
	}
	return differences
}
