package fleet

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TapFilter reports whether an event is to be sent. message is the message of the event without its
// secrets. It is nil if the event has no message, or if the message is too large or cannot be
// decoded. Calls may be concurrent.
type TapFilter func(event *TapEvent, message protoreflect.Message) bool

// tapOptions holds the options of WithTap.
type tapOptions struct {
	redact   []string
	metadata []string
	compile  func(expression string) (TapFilter, error)
}

// TapOption configures [WithTap].
type TapOption func(*tapOptions)

// Redact adds field options that mark secret fields, for example "logger.redact". A field with one
// of these options is removed from messages or, if it is a string, shown as "[redacted]".
// Protobuf's own option debug_redact always has this effect, too.
func Redact(options ...string) TapOption {
	return func(o *tapOptions) { o.redact = append(o.redact, options...) }
}

// TapMetadata sets the keys of the metadata that clients may see. They are not case-sensitive. The
// default is "traceparent" and "tracestate". The key "authorization" is never shown.
func TapMetadata(keys ...string) TapOption {
	return func(o *tapOptions) { o.metadata = slices.Clone(keys) }
}

// Filters lets clients filter events with expressions. compile is usually tapfilter.Compile.
// Without this option, a client that asks for a filter gets an error with code unimplemented.
func Filters(compile func(expression string) (TapFilter, error)) TapOption {
	return func(o *tapOptions) { o.compile = compile }
}

func newTapOptions(opts []TapOption) *tapOptions {
	o := &tapOptions{metadata: []string{"traceparent", "tracestate"}}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	for i, key := range o.metadata {
		o.metadata[i] = strings.ToLower(key)
	}
	o.metadata = slices.DeleteFunc(o.metadata, func(key string) bool { return key == "authorization" })
	return o
}
