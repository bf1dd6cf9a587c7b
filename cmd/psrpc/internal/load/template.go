package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"text/template"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Template makes the messages of a run. It is safe for concurrent use.
type Template struct {
	// message is the only message, if all messages of the run are equal. Otherwise it is nil.
	message proto.Message
	// text makes the JSON of each message if the messages differ.
	text     *template.Template
	newEmpty func() proto.Message
	decode   protojson.UnmarshalOptions
}

// NewTemplate returns a template for messages of a method. data is JSON with actions of package
// text/template, or empty for an empty message. These actions make each message different:
//
//	{{.N}}                 the number of the operation, from 0
//	{{.Caller}}            the number of the caller, from 0
//	{{uuid}}               a random UUID
//	{{rand 1 10}}          a random number from 1 to 10
//	{{pick "a" "b"}}       one of the arguments
//	{{text 16}}            16 random letters
//	{{now}}                the time, in RFC 3339
//
// NewTemplate makes one message as a test, and returns an error if it does not match the schema.
func NewTemplate(method *registry.Method, of protoreflect.MessageDescriptor, data string) (*Template, error) {
	messageType, err := method.Service().FindMessageByName(of.FullName())
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", of.FullName(), err)
	}
	t := &Template{
		newEmpty: func() proto.Message { return messageType.New().Interface() },
		decode:   protojson.UnmarshalOptions{Resolver: method.Service()},
	}
	if strings.Contains(data, "{{") {
		t.text, err = template.New("data").Funcs(functions).Option("missingkey=error").Parse(data)
		if err != nil {
			return nil, errors.NewErrorf(errors.InvalidArgument, "the data is not a template: %w", err)
		}
		_, err = t.Message(Request{})
		return t, err
	}
	t.message, err = t.parse([]byte(data))
	return t, err
}

// Constant reports whether all messages are equal.
func (t *Template) Constant() bool { return t.message != nil }

// operation is the data with which a template makes the message of an operation.
type operation struct {
	N      uint64
	Caller int
}

// Message returns the message for a request. The caller must not modify it if the template is
// constant, because all requests then get the same message.
func (t *Template) Message(request Request) (proto.Message, error) {
	if t.message != nil {
		return t.message, nil
	}
	var text bytes.Buffer
	err := t.text.Execute(&text, operation{request.Number, request.Caller})
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "template of the data: %w", err)
	}
	return t.parse(text.Bytes())
}

func (t *Template) parse(data []byte) (proto.Message, error) {
	message := t.newEmpty()
	if len(bytes.TrimSpace(data)) == 0 {
		return message, nil
	}
	if err := t.decode.Unmarshal(data, message); err != nil {
		// Package protojson puts a prefix and, at random, no-break spaces into its error texts.
		// Both are removed here.
		reason := strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto:"))
		return nil, errors.NewErrorf(errors.InvalidArgument, "the data is no %s: %s",
			message.ProtoReflect().Descriptor().FullName(), reason)
	}
	return message, nil
}

// maxText is the maximum number of letters that a template may request with {{text}}.
const maxText = 64 << 20

var functions = template.FuncMap{
	"uuid": randomUUID,
	"rand": func(low, high int64) (int64, error) {
		if high < low {
			return 0, fmt.Errorf("rand %d %d: the second number must not be less than the first", low, high)
		}
		return low + rand.Int64N(high-low+1), nil //nolint:gosec // test data
	},
	"pick": func(values ...any) (any, error) {
		if len(values) == 0 {
			return nil, errors.New("pick needs values")
		}
		return values[rand.IntN(len(values))], nil //nolint:gosec // test data
	},
	"text": func(length int) (string, error) {
		if length < 0 || length > maxText {
			return "", fmt.Errorf("text %d: the length must be between 0 and %d", length, maxText)
		}
		letters := make([]byte, length)
		for i := range letters {
			letters[i] = byte('a' + rand.IntN(26)) //nolint:gosec // test data
		}
		return string(letters), nil
	},
	"now": func() string { return time.Now().UTC().Format(time.RFC3339Nano) },
}

// randomUUID returns a random UUID of version 4.
func randomUUID() string {
	high, low := rand.Uint64(), rand.Uint64() //nolint:gosec // test data
	high = high&^0xf000 | 0x4000
	low = low&^(3<<62) | 2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xffff, high&0xffff, low>>48, low&(1<<48-1))
}
