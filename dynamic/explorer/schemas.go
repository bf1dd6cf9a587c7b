package explorer

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxSchemas is the maximum number of schemas that an Explorer caches.
const maxSchemas = 128

// schemaCache caches the schemas that servers have sent, including comments. The zero value is
// empty. It is safe for concurrent use.
type schemaCache struct {
	mu      sync.Mutex
	schemas map[schemaKey]*registry.Service
}

// schemaKey identifies a version of a service.
type schemaKey struct {
	digest         fleet.Digest
	name, wireName string
}

// load returns the schema of a version of a service. If it is not in the cache, load gets it from a
// server.
func (c *schemaCache) load(ctx context.Context, f *fleet.Fleet, key schemaKey) (*registry.Service, error) {
	c.mu.Lock()
	cached := c.schemas[key]
	c.mu.Unlock()
	if cached != nil {
		return cached, nil
	}
	files, err := f.Describe(ctx, key.digest, fleet.Comments())
	if err != nil {
		return nil, err
	}
	reg := registry.New(registry.WithLogger(slog.New(slog.DiscardHandler)), registry.WithWireNames(map[string]string{key.name: key.wireName}))
	if err := reg.RegisterDescriptorSet(files); err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "the schema of %s is not valid: %w", key.name, err)
	}
	service, ok := reg.Service(key.name)
	if !ok {
		return nil, errors.NewErrorf(errors.MalformedResponse, "the server has sent a schema without %s", key.name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.schemas == nil || len(c.schemas) >= maxSchemas {
		c.schemas = map[schemaKey]*registry.Service{}
	}
	c.schemas[key] = service
	return service, nil
}

// comment returns the comment above a symbol in its .proto file, or "".
func comment(symbol protoreflect.Descriptor) string {
	return strings.TrimSpace(symbol.ParentFile().SourceLocations().ByDescriptor(symbol).LeadingComments)
}

// filesOf returns a file and all files that it imports. Each file comes after its own imports.
func filesOf(file protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	var files []protoreflect.FileDescriptor
	visited := map[string]bool{}
	var visit func(protoreflect.FileDescriptor)
	visit = func(file protoreflect.FileDescriptor) {
		if visited[file.Path()] {
			return
		}
		visited[file.Path()] = true
		for i := range file.Imports().Len() {
			visit(file.Imports().Get(i).FileDescriptor)
		}
		files = append(files, file)
	}
	visit(file)
	return files
}

// schema contains what a page needs to show a form for the messages of a service.
type schema struct {
	Messages map[protoreflect.FullName]messageInfo `json:"messages"`
	Enums    map[protoreflect.FullName][]enumValue `json:"enums"`
}

type messageInfo struct {
	Comment string      `json:"comment,omitempty"`
	Fields  []fieldInfo `json:"fields"`
}

type enumValue struct {
	Name    protoreflect.Name       `json:"name"`
	Number  protoreflect.EnumNumber `json:"number"`
	Comment string                  `json:"comment,omitempty"`
}

// typeInfo is the type of a field, or of the values of a map.
type typeInfo struct {
	// Type is the name of a scalar type, or "message", "group", "enum" or "map".
	Type    string                `json:"type"`
	Message protoreflect.FullName `json:"message,omitempty"`
	Enum    protoreflect.FullName `json:"enum,omitempty"`
}

type fieldInfo struct {
	typeInfo

	Name     protoreflect.Name        `json:"name"`
	JSONName string                   `json:"jsonName"`
	Number   protoreflect.FieldNumber `json:"number"`
	Repeated bool                     `json:"repeated,omitempty"`
	Map      *mapInfo                 `json:"map,omitempty"`
	Oneof    protoreflect.Name        `json:"oneof,omitempty"`
	// Optional reports whether a scalar field has presence: it can be unset, which differs from
	// being set to its default.
	Optional   bool   `json:"optional,omitempty"`
	Required   bool   `json:"required,omitempty"`
	Default    any    `json:"default,omitempty"`
	Redact     bool   `json:"redact,omitempty"`
	Deprecated bool   `json:"deprecated,omitempty"`
	Comment    string `json:"comment,omitempty"`
}

// mapInfo is the type of a map. Its keys are scalars.
type mapInfo struct {
	Key   string   `json:"key"`
	Value typeInfo `json:"value"`
}

// maxMessages limits how many messages a schema contains.
const maxMessages = 5_000

// anyName is the full name of the message type that can contain any other message.
const anyName = "google.protobuf.Any"

// schemaOf returns all messages and enums that the methods of a service use. If one of them
// contains an Any, the result contains all messages of the files, because the Any may contain each
// of them.
func schemaOf(service protoreflect.ServiceDescriptor) *schema {
	s := &schema{Messages: map[protoreflect.FullName]messageInfo{}, Enums: map[protoreflect.FullName][]enumValue{}}
	for i := range service.Methods().Len() {
		s.addMessage(service.Methods().Get(i).Input())
		s.addMessage(service.Methods().Get(i).Output())
	}
	if _, ok := s.Messages[anyName]; ok {
		for _, file := range filesOf(service.ParentFile()) {
			if file.Path() != "google/protobuf/descriptor.proto" {
				s.addMessages(file.Messages())
			}
		}
	}
	return s
}

func (s *schema) addMessages(messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		if message := messages.Get(i); !message.IsMapEntry() {
			s.addMessage(message)
			s.addMessages(message.Messages())
		}
	}
}

// addMessage adds a message and the types of its fields.
func (s *schema) addMessage(message protoreflect.MessageDescriptor) {
	if _, ok := s.Messages[message.FullName()]; ok || len(s.Messages) >= maxMessages {
		return
	}
	info := messageInfo{Comment: comment(message), Fields: make([]fieldInfo, message.Fields().Len())}
	s.Messages[message.FullName()] = info // added before its fields, because messages may be recursive
	for i := range info.Fields {
		info.Fields[i] = s.field(message.Fields().Get(i))
	}
}

func (s *schema) addEnum(enum protoreflect.EnumDescriptor) {
	if _, ok := s.Enums[enum.FullName()]; ok {
		return
	}
	values := make([]enumValue, enum.Values().Len())
	for i := range values {
		value := enum.Values().Get(i)
		values[i] = enumValue{Name: value.Name(), Number: value.Number(), Comment: comment(value)}
	}
	s.Enums[enum.FullName()] = values
}

func (s *schema) field(field protoreflect.FieldDescriptor) fieldInfo {
	options, _ := field.Options().(*descriptorpb.FieldOptions)
	info := fieldInfo{
		typeInfo: s.typeOf(field), Name: field.Name(), JSONName: field.JSONName(), Number: field.Number(),
		Repeated: field.IsList(), Optional: field.HasOptionalKeyword() && field.Message() == nil,
		Required: field.Cardinality() == protoreflect.Required, Redact: options.GetDebugRedact(),
		Deprecated: options.GetDeprecated(), Comment: comment(field),
	}
	if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		info.Oneof = oneof.Name()
	}
	if field.IsMap() {
		info.typeInfo = typeInfo{Type: "map"}
		info.Map = &mapInfo{Key: field.MapKey().Kind().String(), Value: s.typeOf(field.MapValue())}
	}
	if field.HasDefault() {
		info.Default = defaultOf(field)
	}
	return info
}

// typeOf returns the type of a field. It adds the message or enum of the field to the schema.
func (s *schema) typeOf(field protoreflect.FieldDescriptor) typeInfo {
	info := typeInfo{Type: field.Kind().String()}
	switch {
	case field.IsMap():
	case field.Message() != nil:
		info.Message = field.Message().FullName()
		s.addMessage(field.Message())
	case field.Enum() != nil:
		info.Enum = field.Enum().FullName()
		s.addEnum(field.Enum())
	}
	return info
}

// defaultOf returns the default of a field in protobuf's JSON mapping.
func defaultOf(field protoreflect.FieldDescriptor) any {
	if value := field.DefaultEnumValue(); value != nil {
		return value.Name()
	}
	switch value := field.Default(); field.Kind() {
	case protoreflect.BytesKind:
		return value.Bytes()
	case protoreflect.FloatKind, protoreflect.DoubleKind, protoreflect.Int64Kind, protoreflect.Uint64Kind,
		protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return value.String() // JSON numbers cannot represent NaN or all 64-bit integers
	default:
		return value.Interface()
	}
}
