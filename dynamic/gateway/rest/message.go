package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxFields is the maximum number of fields of a JSON object in the body. It applies only to
// objects in which a variable of the path sets a field.
const maxFields = 10_000

// message returns the request message of a request as JSON. values contains the values of the
// variables.
func (r *route) message(request *http.Request, values []string, body io.Reader) ([]byte, error) {
	isWhole := r.hasBody && r.body.field == nil
	if isWhole && len(values) == 0 && !r.body.isHTTPBody {
		content, err := io.ReadAll(body)
		if len(content) == 0 {
			content = []byte("{}")
		}
		return content, err
	}
	message := object{}
	if r.readsQuery() {
		if err := r.setQuery(message, request.URL.RawQuery); err != nil {
			return nil, err
		}
	}
	if r.hasBody {
		var err error
		if message, err = r.withBody(message, request.Header.Get("Content-Type"), body); err != nil {
			return nil, err
		}
	}
	for i, fields := range r.variables {
		value, err := jsonOf(fields.last(), values[i])
		if err != nil {
			return nil, err
		}
		if err := message.set(fields, value); err != nil {
			return nil, err
		}
	}
	encoded, err := json.Marshal(message)
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "the request is not JSON: %w", err)
	}
	return encoded, nil
}

// setQuery sets the fields in the query. Names that are not fields become fields of the JSON object,
// so that the gateway treats them like other unknown fields.
func (r *route) setQuery(message object, query string) error {
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "the query is malformed: %w", err)
	}
	for name, texts := range parameters {
		fields, err := findFields(r.method.Input(), name)
		if err != nil {
			message[name] = texts
			continue
		}
		if err := r.setParameter(message, name, fields, texts); err != nil {
			return err
		}
	}
	return nil
}

func (r *route) setParameter(message object, name string, fields fieldPath, texts []string) error {
	last := fields.last()
	switch {
	case fields[0] == r.body.field:
		return errors.NewErrorf(errors.InvalidArgument, "query: field %.100q belongs in the body", name)
	case !isScalar(last):
		return errors.NewErrorf(errors.InvalidArgument, "query: field %.100q has no form as text", name)
	case !last.IsList() && len(texts) != 1:
		return errors.NewErrorf(errors.InvalidArgument, "query: field %.100q has %d values", name, len(texts))
	}
	values := make([]json.RawMessage, len(texts))
	for i, text := range texts {
		var err error
		if values[i], err = jsonOf(last, text); err != nil {
			return err
		}
	}
	if last.IsList() {
		return message.set(fields, values)
	}
	return message.set(fields, values[0])
}

// withBody adds the body of the request to message, or replaces message if the body is the whole
// message.
func (r *route) withBody(message object, contentType string, body io.Reader) (object, error) {
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	httpBody := object{"contentType": contentType, "data": content}
	switch field := r.body.field; {
	case field == nil && r.body.isHTTPBody:
		return httpBody, nil
	case field == nil:
		return decodeObject(content)
	case r.body.isHTTPBody:
		message[field.JSONName()] = httpBody
	case len(bytes.TrimSpace(content)) > 0:
		message[field.JSONName()] = json.RawMessage(content)
	}
	return message, nil
}

// responseOf returns the part of a response message that the client gets. The message and the
// result are JSON.
func (r *route) responseOf(message []byte) ([]byte, error) {
	if r.response.field == nil {
		return message, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(message, &fields); err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "the response is not a JSON object: %w", err)
	}
	if value := fields[r.response.field.JSONName()]; value != nil {
		return value, nil
	}
	return r.noResponse, nil
}

// object is a JSON object that is being built. A nested object is an object or, if it is still
// encoded, a json.RawMessage.
type object map[string]any

// set sets a field of the object. If fields has several elements, it sets a field of a nested
// object.
func (o object) set(fields fieldPath, value any) error {
	for _, field := range fields[:len(fields)-1] {
		inner := object{}
		switch known := o.take(field).(type) {
		case object:
			inner = known
		case json.RawMessage:
			var err error
			if inner, err = decodeObject(known); err != nil {
				return err
			}
		}
		o[field.JSONName()] = inner
		o = inner
	}
	o.take(fields.last())
	o[fields.last().JSONName()] = value
	return nil
}

// take removes a field and returns its value. The field may have the name in the .proto file or the
// JSON name.
func (o object) take(field protoreflect.FieldDescriptor) any {
	var value any
	for _, name := range []string{string(field.Name()), field.JSONName()} {
		if known, ok := o[name]; ok {
			value = known
			delete(o, name)
		}
	}
	return value
}

// decodeObject decodes a JSON object but leaves its values encoded. Empty input and null yield an
// empty object. The number of fields is limited, because a decoded field needs much more memory
// than its text.
func decodeObject(data []byte) (object, error) {
	o := object{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	start, err := decoder.Token()
	if errors.Is(err, io.EOF) || err == nil && start == nil {
		return o, nil
	}
	if err != nil || start != json.Delim('{') {
		return nil, errNoObject
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, errNoObject
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, errNoObject
		}
		if len(o) >= maxFields {
			return nil, errors.NewErrorf(errors.InvalidArgument, "an object of the request has more than %d fields", maxFields)
		}
		o[name.(string)] = value
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return nil, errNoObject
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return o, nil
}

var errNoObject = errors.NewErrorf(errors.InvalidArgument, "the request is not a JSON object")
