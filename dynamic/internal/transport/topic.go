package transport

import (
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// CheckTopic returns an error with code invalid_argument if a topic does not have as many parts as
// the method requires. For a method without topics, parts must be empty.
func CheckTopic(method *registry.Method, parts []string) error {
	if len(parts) == method.TopicParts() {
		return nil
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
