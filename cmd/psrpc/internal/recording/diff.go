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

// Values maps the path of each field that is set in a message to the field's value as text.
type Values map[string]string

// ValuesOf returns the values of a message. A field with an empty message counts as one value. The
// service provides the types of the messages in fields of type Any.
func ValuesOf(message proto.Message, service *registry.Service) Values {
	reader := valueReader{values: Values{}, service: service}
	reader.addMessage("", message.ProtoReflect())
	delete(reader.values, "")
	return reader.values
}

// valueReader collects the values of a message.
type valueReader struct {
	values  Values
	service *registry.Service
	// anys is the number of messages of type Any that contain the message.
	anys int
}

// emptyMessage is the value of a field with an empty message.
const emptyMessage = "{}"

func (r *valueReader) addMessage(path string, message protoreflect.Message) {
	if isAny(message) && r.anys < maxAnys {
		if inner, url, err := unpack(message, r.service); err == nil {
			r.values[join(path, "@type")] = url
			r.anys++
			r.addMessage(path, inner.ProtoReflect())
			r.anys--
			return
		}
	}
	empty := true
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		empty = false
		r.addField(join(path, field.TextName()), field, value)
		return true
	})
	if empty {
		r.values[path] = emptyMessage
	}
}

func (r *valueReader) addField(path string, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch {
	case field.IsList():
		for i := range value.List().Len() {
			r.addValue(fmt.Sprintf("%s[%d]", path, i), field, value.List().Get(i))
		}
	case field.IsMap():
		value.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
			text := key.String()
			if field.MapKey().Kind() == protoreflect.StringKind {
				text = strconv.Quote(text)
			}
			r.addValue(fmt.Sprintf("%s[%s]", path, text), field.MapValue(), value)
			return true
		})
	default:
		r.addValue(path, field, value)
	}
}

func (r *valueReader) addValue(path string, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		r.addMessage(path, value.Message())
	case protoreflect.EnumKind:
		if name := field.Enum().Values().ByNumber(value.Enum()); name != nil {
			r.values[path] = string(name.Name())
			return
		}
		r.values[path] = strconv.Itoa(int(value.Enum()))
	case protoreflect.BytesKind:
		r.values[path] = base64.StdEncoding.EncodeToString(value.Bytes())
	case protoreflect.StringKind:
		r.values[path] = strconv.Quote(value.String())
	default:
		r.values[path] = value.String()
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

// Distance returns the number of paths at which the values differ.
func (v Values) Distance(other Values) (paths int) {
	for path, value := range v {
		if got, ok := other[path]; !ok || got != value {
			paths++
		}
	}
	for path := range other {
		if _, ok := v[path]; !ok {
			paths++
		}
	}
	return paths
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
