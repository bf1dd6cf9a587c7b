package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/similar"
)

// data turns the command-line arguments that follow a method into messages. The messages have the
// method's request type or, if they are updates, its response type.
type data struct {
	app     *app.App
	message protoreflect.MessageDescriptor
	// allowUnknown makes data ignore fields that the schema does not have.
	allowUnknown bool
}

// field matches an argument that sets a field: name=value or name.inner=value.
var field = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*)=`)

// messages returns the messages that the arguments stand for. An argument is a JSON value or a file
// with JSON values: @file, or @- for the standard input. Arguments of the form name=value together
// make one message. Without arguments, there is one empty message. Each message is read when it is
// needed, so those from a pipe are sent as they come. Waiting for the standard input ends when ctx
// ends.
func (d *data) messages(ctx context.Context, args []string) iter.Seq2[proto.Message, error] {
	return func(yield func(proto.Message, error) bool) {
		if !slices.ContainsFunc(args, func(arg string) bool { return !field.MatchString(arg) }) {
			yield(d.fromFields(args))
			return
		}
		for _, arg := range args {
			for encoded, err := range d.values(ctx, arg) {
				if err != nil {
					yield(nil, err)
					return
				}
				if message, err := d.decode(encoded); !yield(message, err) || err != nil {
					return
				}
			}
		}
	}
}

// argument is the word for an argument in error messages.
const argument = "DATA"

// values returns the JSON values of one argument.
func (d *data) values(ctx context.Context, arg string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		var source io.Reader = strings.NewReader(arg)
		where := argument
		if path, isFile := strings.CutPrefix(arg, "@"); isFile && path == "-" {
			source, where = d.app.Input(ctx), "standard input"
		} else if isFile {
			file, err := os.Open(path) //nolint:gosec // the user has named it
			if err != nil {
				yield(nil, err)
				return
			}
			defer func() { _ = file.Close() }()
			source, where = file, path
		}
		decoder := json.NewDecoder(source)
		for n := 1; ; n++ {
			var value json.RawMessage
			err := decoder.Decode(&value)
			if errors.Is(err, io.EOF) && (n > 1 || where != argument) {
				return
			}
			if err != nil {
				yield(nil, d.badJSON(arg, where, n, err))
				return
			}
			if !yield(value, nil) {
				return
			}
		}
	}
}

// badJSON returns an error about a value that is not JSON. If the value was given as an argument,
// the error also lists the forms that the argument can have.
func (d *data) badJSON(arg, where string, n int, err error) error {
	if where != argument {
		return fmt.Errorf("%s: value %d is not JSON: %w", where, n, err)
	}
	return app.Hint(fmt.Errorf("%s is not JSON: %w", quoted(arg), err),
		"DATA is JSON such as "+d.example()+", name=value pairs, @file, or @- for the standard input")
}

// example returns JSON of a message with only its first field, for the text of an error.
func (d *data) example() string {
	if d.message.Fields().Len() == 0 {
		return "{}"
	}
	first := d.message.Fields().Get(0)
	switch d.message.FullName() {
	case "google.protobuf.StringValue":
		return `'"text"'`
	default:
		encoded, err := json.Marshal(map[string]any{first.JSONName(): zeroOf(first, 0)})
		if err != nil {
			return "{}"
		}
		return "'" + string(encoded) + "'"
	}
}

// decode turns JSON into a message.
func (d *data) decode(encoded []byte) (proto.Message, error) {
	message := dynamicpb.NewMessage(d.message)
	err := protojson.UnmarshalOptions{Resolver: d.app.Registry(), DiscardUnknown: d.allowUnknown}.Unmarshal(encoded, message)
	if err != nil {
		return nil, d.explain(encoded, err)
	}
	return message, nil
}

// explain returns an error about JSON that does not fit the message. If a field is unknown, the
// error suggests the field with the most similar name.
func (d *data) explain(encoded []byte, err error) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(encoded, &object) == nil {
		if problem := unknownField(d.message, object); problem != nil {
			return app.Hint(problem, "--allow-unknown ignores fields that the schema does not have")
		}
	}
	// Package protojson puts a prefix and, at random, no-break spaces into its error texts. Both
	// are removed here.
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimSpace(strings.TrimPrefix(text, "proto:"))
	return fmt.Errorf("DATA is not a %s: %s", d.message.FullName(), text)
}

// unknownField returns an error about the first field of object, or of a nested object, that the
// schema does not have. It returns nil if there is none.
func unknownField(message protoreflect.MessageDescriptor, object map[string]json.RawMessage) error {
	for _, name := range slices.Sorted(mapKeys(object)) {
		fd := fieldNamed(message, name)
		if fd == nil && isWellKnown(message) {
			return nil
		}
		if fd == nil {
			return noField(message, name)
		}
		var inner map[string]json.RawMessage
		if fd.Message() == nil || fd.IsMap() || json.Unmarshal(object[name], &inner) != nil {
			continue
		}
		if err := unknownField(fd.Message(), inner); err != nil {
			return err
		}
	}
	return nil
}

func mapKeys(object map[string]json.RawMessage) iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := range object {
			if !yield(key) {
				return
			}
		}
	}
}

// noField returns an error about a field that message does not have.
func noField(message protoreflect.MessageDescriptor, name string) error {
	var names []string
	for i := range message.Fields().Len() {
		names = append(names, string(message.Fields().Get(i).Name()))
	}
	hint := similar.Hint(name, names)
	if hint == "" && len(names) > 0 {
		hint = "; it has " + strings.Join(names[:min(len(names), 12)], ", ")
	}
	return fmt.Errorf("%s has no field %s%s", message.FullName(), name, hint)
}

// fieldNamed returns the field with the given name, which may be its name in the schema or its JSON
// name. It returns nil if there is none.
func fieldNamed(message protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := message.Fields().ByTextName(name); fd != nil {
		return fd
	}
	return message.Fields().ByJSONName(name)
}

// fromFields makes a message from arguments of the form name=value. If a name is repeated, its
// values make a list.
func (d *data) fromFields(args []string) (proto.Message, error) {
	encoded, err := fieldsAsJSON(d.message, args)
	if err != nil {
		return nil, err
	}
	return d.decode(encoded)
}

// fieldsAsJSON returns JSON with the fields that name=value pairs set.
func fieldsAsJSON(message protoreflect.MessageDescriptor, args []string) ([]byte, error) {
	object := map[string]any{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if err := setField(object, message, strings.Split(name, "."), value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(object)
}

// setField sets the field with the given path in object, the JSON form of message.
func setField(object map[string]any, message protoreflect.MessageDescriptor, path []string, value string) error {
	fd := fieldNamed(message, path[0])
	if fd == nil {
		return noField(message, path[0])
	}
	name, rest := fd.JSONName(), path[1:]
	switch {
	case fd.IsMap() && len(rest) == 1:
		entries, _ := object[name].(map[string]any)
		if entries == nil {
			entries = map[string]any{}
		}
		entries[rest[0]] = fieldValue(fd.MapValue(), value)
		object[name] = entries
	case len(rest) > 0 && fd.Message() != nil && !fd.IsMap() && !fd.IsList():
		inner, _ := object[name].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
		}
		object[name] = inner
		return setField(inner, fd.Message(), rest, value)
	case len(rest) > 0:
		return fmt.Errorf("%s.%s cannot be set: %s is not a message; give the whole field as JSON", path[0], strings.Join(rest, "."), path[0])
	case (fd.IsMap() || fd.IsList() && strings.HasPrefix(value, "[")) && !json.Valid([]byte(value)):
		example, err := json.Marshal(zeroOf(fd, 0))
		return errors.Join(fmt.Errorf("%s=%s: want JSON such as %s", path[0], quoted(value), example), err)
	case fd.IsList() && !strings.HasPrefix(value, "["):
		list, _ := object[name].([]any)
		object[name] = append(list, fieldValue(fd, value))
	default:
		object[name] = fieldValue(fd, value)
	}
	return nil
}

// fieldValue returns the value of a field as JSON. The user need not quote text and the names of
// enum values, so they are quoted here. Other values are JSON already.
func fieldValue(fd protoreflect.FieldDescriptor, value string) any {
	if fd.IsList() && strings.HasPrefix(value, "[") || fd.IsMap() {
		return json.RawMessage(value)
	}
	isJSON := json.Valid([]byte(value))
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return value
	case protoreflect.MessageKind, protoreflect.GroupKind:
		// The JSON form of some well-known types, such as a duration, is a string.
		isText := fd.Message().FullName() == "google.protobuf.StringValue" && !strings.HasPrefix(value, `"`)
		if isJSON && !isText {
			return json.RawMessage(value)
		}
		return value
	default:
		if isJSON {
			return json.RawMessage(value)
		}
		return value
	}
}

// quoted returns text in quotes, for an error. It shortens text to 60 characters.
func quoted(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return fmt.Sprintf("%q", text)
}
