package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// object is a JSON object.
type object = map[string]any

// openAPI returns a handler that serves the OpenAPI document of the routes.
func (g *Gateway) openAPI(r *routes) http.Handler {
	// Make the document on first use, because most routes are replaced before it is needed.
	document := sync.OnceValues(func() ([]byte, error) { return json.Marshal(g.openAPIDocument(r.services, r.bindings)) })
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		encoded, err := document()
		if err != nil {
			g.writeProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", typeJSON)
		_, _ = w.Write(encoded)
	})
}

// openAPIDocument returns the document of the services' methods. bindings may be nil.
func (g *Gateway) openAPIDocument(services []*registry.Service, bindings Bindings) object {
	schemas := schemas{"psrpc.Error": errorSchema}
	paths, tags := object{}, []object{}
	for _, service := range services {
		tags = append(tags, object{"name": string(service.Name()), "description": commentOf(service.Descriptor())})
		for _, method := range service.Methods() {
			if g.options.serves(method.FullName()) {
				paths["/"+method.FullName()] = object{"post": operation(method, schemas.message(method.Output()), schemas)}
			}
		}
	}
	addOperations(paths, bindings, schemas)
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "dynpsrpc gateway", "version": "1"},
		"tags":    tags, "paths": paths,
		"components": object{"schemas": schemas},
	}
}

// serverSchema is the JSON schema of a server ID in a multi call.
var serverSchema = object{"type": "string", "description": "In a multi call, the ID of the server."}

// errorSchema is the JSON schema of an error.
var errorSchema = object{
	"type": "object",
	"properties": object{
		"code":    object{"type": "string", "description": "The code, such as not_found."},
		"message": object{"type": "string"},
		"server":  serverSchema,
		"details": object{"type": "array", "items": object{"type": "object"}},
	},
	"required": []string{"code"},
}

// answers contains the description of a successful response for each kind of method.
var answers = map[registry.Kind]string{
	registry.KindSingle:       "The response of one server.",
	registry.KindMulti:        "The responses of all servers.",
	registry.KindStream:       "The messages of the server.",
	registry.KindSubscription: "The updates, until the client goes away.",
}

func operationID(method *registry.Method) string {
	return strings.ReplaceAll(method.FullName(), "/", ".")
}

func requestBody(schema object) object {
	return object{"content": object{"application/json": object{"schema": schema}}}
}

// operation returns the OpenAPI operation for one method. output is the schema of a response.
func operation(method *registry.Method, output object, schemas schemas) object {
	content := object{"application/json": object{"schema": output}}
	if method.Kind() != registry.KindSingle {
		content = object{
			"text/event-stream": object{"schema": object{
				"type":        "string",
				"description": "Server-sent events: message (its data is the JSON of the message), error, complete.",
			}},
			"application/x-ndjson": object{"schema": object{"oneOf": []object{
				{"type": "object", "properties": object{"message": output, "server": serverSchema}, "required": []string{"message"}},
				{"type": "object", "properties": object{"error": ref("psrpc.Error")}, "required": []string{"error"}},
			}}},
		}
	}
	op := object{
		"operationId": operationID(method),
		"tags":        []string{string(method.Service().Name())},
		"description": commentOf(method.Descriptor()),
		"requestBody": requestBody(schemas.message(method.Input())),
		"responses": object{
			"200": object{"description": answers[method.Kind()], "content": content},
			"default": object{
				"description": "The call has failed.",
				"content":     object{"application/json": object{"schema": ref("psrpc.Error")}},
			},
		},
		"x-psrpc-kind": method.Kind().String(), "x-psrpc-routing": method.Routing().String(),
	}
	if method.Topics() {
		description := "The topic: its parts, percent-encoded and joined by slashes."
		if params := method.TopicParams(); len(params) > 0 {
			description += " Parts: " + strings.Join(params, ", ") + "."
		}
		op["parameters"] = []object{{
			"name": TopicHeader, "in": "header", "required": true, "description": description,
			"schema": object{"type": "string"},
		}}
	}
	return op
}

// commentOf returns the comment in front of a declaration, if the file was loaded with comments.
func commentOf(d protoreflect.Descriptor) string {
	return strings.TrimSpace(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments)
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// schemas contains the JSON schemas of messages and enums, keyed by full name.
type schemas map[string]object

// message returns the schema of a field that contains the message. If the schema is a reference to
// an entry of s, message adds the entry to s.
func (s schemas) message(m protoreflect.MessageDescriptor) object {
	if schema := wellKnown(m.FullName()); schema != nil {
		return schema
	}
	name := string(m.FullName())
	if _, known := s[name]; known {
		return ref(name)
	}
	schema := object{"type": "object", "additionalProperties": false}
	s[name] = schema // set before the fields are added, because they may contain the message itself
	properties, required := object{}, []string{}
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		properties[field.JSONName()] = s.field(field)
		if field.Cardinality() == protoreflect.Required {
			required = append(required, field.JSONName())
		}
	}
	schema["properties"] = properties
	if len(required) > 0 {
		schema["required"] = required
	}
	if comment := commentOf(m); comment != "" {
		schema["description"] = comment
	}
	return ref(name)
}

// fieldOrMessage returns the schema of field, or that of message if field is nil.
func (s schemas) fieldOrMessage(field protoreflect.FieldDescriptor, message protoreflect.MessageDescriptor) object {
	if field == nil {
		return s.message(message)
	}
	return s.field(field)
}

func (s schemas) field(f protoreflect.FieldDescriptor) object {
	var schema object
	switch {
	case f.IsMap():
		schema = object{"type": "object", "additionalProperties": s.value(f.MapValue())}
	case f.IsList():
		schema = object{"type": "array", "items": s.value(f)}
	default:
		schema = s.value(f)
	}
	comment := commentOf(f)
	if oneof := f.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		comment = strings.TrimSpace(comment + "\nAt most one field of " + string(oneof.Name()) + " may be set.")
	}
	if comment == "" {
		return schema
	}
	described := object{"description": comment}
	maps.Copy(described, schema)
	return described
}

// value returns the schema of one value of a field; see
// https://protobuf.dev/programming-guides/json.
func (s schemas) value(f protoreflect.FieldDescriptor) object {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return object{"type": "integer", "format": "int32"}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return object{"type": "integer", "minimum": 0, "maximum": int64(1)<<32 - 1}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return object{"type": []string{"string", "integer"}, "format": "int64"}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return object{"type": []string{"string", "integer"}, "format": "uint64"}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return object{"oneOf": []object{{"type": "number"}, {"enum": []string{"NaN", "Infinity", "-Infinity"}}}}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	case protoreflect.EnumKind:
		return s.enum(f.Enum())
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return s.message(f.Message())
	default:
		return object{"type": "string"}
	}
}

func (s schemas) enum(e protoreflect.EnumDescriptor) object {
	if e.FullName() == "google.protobuf.NullValue" {
		return object{"type": "null"}
	}
	names := make([]string, e.Values().Len())
	for i := range names {
		names[i] = string(e.Values().Get(i).Name())
	}
	s[string(e.FullName())] = object{"type": "string", "enum": names}
	return ref(string(e.FullName()))
}

// wellKnown returns the schema of a type with a JSON form of its own, or nil.
func wellKnown(name protoreflect.FullName) object {
	switch name {
	case "google.protobuf.Timestamp":
		return object{"type": "string", "format": "date-time"}
	case "google.protobuf.Duration":
		return object{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]+)?s$`}
	case "google.protobuf.FieldMask":
		return object{"type": "string"}
	case "google.protobuf.Struct":
		return object{"type": "object"}
	case "google.protobuf.Value":
		return object{}
	case "google.protobuf.ListValue":
		return object{"type": "array"}
	case "google.protobuf.Any":
		return object{"type": "object", "properties": object{"@type": object{"type": "string"}}}
	case "google.protobuf.BoolValue":
		return object{"type": []string{"boolean", "null"}}
	case "google.protobuf.StringValue", "google.protobuf.BytesValue":
		return object{"type": []string{"string", "null"}}
	case "google.protobuf.Int32Value", "google.protobuf.UInt32Value":
		return object{"type": []string{"integer", "null"}}
	case "google.protobuf.Int64Value", "google.protobuf.UInt64Value":
		return object{"type": []string{"string", "integer", "null"}}
	case "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return object{"type": []string{"number", "string", "null"}}
	}
	return nil
}

// addOperations adds the bindings to the paths of an OpenAPI document.
func addOperations(paths object, bindings Bindings, schemas schemas) {
	if bindings == nil {
		return
	}
	count := map[*registry.Method]int{}
	for _, o := range bindings.Operations() {
		path, exists := paths[o.Path].(object)
		if !exists {
			path = object{}
			paths[o.Path] = path
		}
		name := strings.ToLower(o.HTTPMethod)
		if _, taken := path[name]; !taken { // OpenAPI cannot distinguish paths that differ only in what their variables match
			count[o.Method]++
			operation := o.document(schemas)
			operation["operationId"] = fmt.Sprintf("%s.%d", operationID(o.Method), count[o.Method])
			path[name] = operation
		}
	}
}

// anyContent is the schema of a google.api.HttpBody, which has a content type of its own.
var anyContent = object{"*/*": object{"schema": object{"type": "string", "format": "binary"}}}

// document returns the operation as an OpenAPI object.
func (o Operation) document(schemas schemas) object {
	output := schemas.fieldOrMessage(o.ResponseField, o.Method.Output())
	op := operation(o.Method, output, schemas)
	if o.ResponseIsHTTPBody {
		responses, _ := op["responses"].(object)
		responses["200"] = object{"description": answers[o.Method.Kind()], "content": anyContent}
	}
	switch {
	case !o.HasBody:
		delete(op, "requestBody")
	case o.RequestIsHTTPBody:
		op["requestBody"] = object{"content": anyContent}
	default:
		op["requestBody"] = requestBody(schemas.fieldOrMessage(o.BodyField, o.Method.Input()))
	}
	parameters, _ := op["parameters"].([]object)
	if o.HasTopic {
		parameters = nil
	}
	for _, name := range slices.Sorted(maps.Keys(o.PathParameters)) {
		parameters = append(parameters, object{
			"name": name, "in": "path", "required": true, "schema": schemas.field(o.PathParameters[name]),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(o.QueryParameters)) {
		parameters = append(parameters, object{
			"name": name, "in": "query", "schema": schemas.field(o.QueryParameters[name]),
		})
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	return op
}
