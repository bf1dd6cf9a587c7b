package transport

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// CheckTopic returns an error with code invalid_argument if parts is not a valid topic of the
// method. For a method without topics, parts must be empty. Otherwise, the number of parts must be
// that of the method. Two further rules ensure that no two topics of a method share a channel:
//   - Each part must be valid UTF-8, because channel names replace every invalid byte by the same
//     text.
//   - Unless allowEmpty is set, no part may be empty. An empty part is usually a variable that has
//     no value. psrpc peers may use such topics, so allowEmpty makes CheckTopic accept some of
//     them. NATS subjects omit empty parts, so the topics ["n", ""] and ["", "n"] have the same
//     subject. CheckTopic accepts only one topic for each subject: all empty parts must be next to
//     each other, immediately before the last part, as in ["", "n"]. A topic whose parts are all
//     empty is also accepted.
func CheckTopic(method *registry.Method, parts []string, allowEmpty bool) error {
	if len(parts) == method.TopicParts() {
		return checkParts(method, parts, allowEmpty)
	}
	if !method.Topics() {
		return errors.NewErrorf(errors.InvalidArgument, "method %s takes no topic, given %.200q", method.FullName(), parts)
	}
	names := method.TopicParams()
	if len(names) == 0 {
		names = []string{"topic"}
	}
	return errors.NewErrorf(errors.InvalidArgument, "method %s takes a topic (%s): wanted parts %d, given %d: %.200q",
		method.FullName(), strings.Join(names, ", "), method.TopicParts(), len(parts), parts)
}

// checkParts returns an error if another topic of the method might share the channels of parts.
func checkParts(method *registry.Method, parts []string, allowEmpty bool) error {
	for i, part := range parts {
		if !utf8.ValidString(part) {
			return errors.NewErrorf(errors.InvalidArgument, "method %s: part %d of the topic is not valid UTF-8: %.200q",
				method.FullName(), i+1, part)
		}
	}
	if empty := slices.Index(parts, ""); empty >= 0 && !allowEmpty {
		return errors.NewErrorf(errors.InvalidArgument, "method %s: part %d of the topic is empty: %.200q",
			method.FullName(), empty+1, parts)
	}
	if hasMisplacedEmptyPart(parts) {
		return errors.NewErrorf(errors.InvalidArgument,
			"method %s: empty parts of a topic may stand only directly before the last part: %.200q", method.FullName(), parts)
	}
	return nil
}

// hasMisplacedEmptyPart reports whether an empty part stands in a place where CheckTopic does not
// accept it.
func hasMisplacedEmptyPart(parts []string) bool {
	firstEmpty := slices.Index(parts, "")
	if firstEmpty < 0 {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[firstEmpty:last] {
		if part != "" {
			return true
		}
	}
	return parts[last] == "" && firstEmpty > 0
}
