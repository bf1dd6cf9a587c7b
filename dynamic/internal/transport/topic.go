package transport

import (
	"strings"
	"unicode/utf8"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// CheckTopic returns an error with code invalid_argument if parts is not a topic of the method. For
// a method without topics, parts must be empty. Otherwise there must be as many parts as the method
// requires, and each must be valid UTF-8. In a channel name, all invalid bytes are replaced by the
// same text, so different topics with invalid bytes would share a channel. Empty parts are
// accepted, as in psrpc.
func CheckTopic(method *registry.Method, parts []string) error {
	if len(parts) == method.TopicParts() {
		return checkParts(method, parts)
	}
	if !method.Topics() {
		return errors.NewErrorf(errors.InvalidArgument, "method %s takes no topic, given %q", method.FullName(), parts)
	}
	names := method.TopicParams()
	if len(names) == 0 {
		names = []string{"topic"}
	}
	return errors.NewErrorf(errors.InvalidArgument, "method %s takes a topic (%s): wanted parts %d, given %d: %q",
		method.FullName(), strings.Join(names, ", "), method.TopicParts(), len(parts), parts)
}

// checkParts returns an error if a part of a topic is not valid UTF-8.
func checkParts(method *registry.Method, parts []string) error {
	for i, part := range parts {
		if !utf8.ValidString(part) {
			return errors.NewErrorf(errors.InvalidArgument, "method %s: part %d of the topic is not valid UTF-8: %.200q",
				method.FullName(), i+1, part)
		}
	}
	return nil
}
