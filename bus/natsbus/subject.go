package natsbus

import (
	"strings"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// subKey identifies a NATS subscription of the bus by its subject and by whether it belongs to the
// queue group.
type subKey struct {
	subject string
	queue   bool
}

// queueKey identifies a routing key on the subject of a queue.
type queueKey struct{ subject, routingKey string }

// privatePrefix is the beginning of a private subject. It follows the prefix set by [WithPrefix]
// and precedes the subject of the queue and the routing key. For example,
// DYN.QUEUE.SRV.Service.Q.Method.REQ is the private subject for the queue SRV.Service.Q and the
// routing key Method.REQ.
const privatePrefix = "DYN.QUEUE."

const (
	// reservedInLine is the number of bytes that the bus reserves in each protocol line for
	// everything except subjects. This includes separators, sizes, the ID of a subscription and the
	// queue group. For a forwarded frame, it also includes forwardMark and the number of times that
	// the frame has been forwarded.
	reservedInLine = 64
	// maxToken is the maximum length of a token in a reply subject: a uint64 has at most 13 digits
	// in base 36.
	maxToken = 13
	// maxShown is the maximum number of bytes of a channel name or subject that an error repeats.
	// The number is limited because peers can choose such names.
	maxShown = 64
)

// subjects translates the channels of a bus to NATS subjects. It does not change.
//
// Each subscription to a queue with a routing key also has a private subject, which no psrpc
// process knows. The processes that serve the routing key subscribe to it as a queue group. Other
// processes forward misrouted frames to it.
//
// This costs one NATS subscription for each subject and routing key. Each process creates the
// subscription at once. If it first had to find out which other processes are in the queue group,
// frames would be lost until then.
type subjects struct {
	// prefix is the beginning of all subjects, and privatePrefix that of all private subjects.
	prefix, privatePrefix string
	// perMethod is set by WithSubjectPerMethod.
	perMethod bool
	// max is the maximum length of a subject in bytes.
	max int
}

// newSubjects returns the subjects of a bus. inboxPrefix is the prefix of its reply subjects.
func newSubjects(o *options, inboxPrefix string) (subjects, error) {
	s := subjects{
		prefix: o.Prefix, privatePrefix: o.Prefix + privatePrefix, perMethod: o.subjectPerMethod,
		max: maxSubjectSize(o.maxControlLine, inboxPrefix),
	}
	if s.max <= 0 {
		return s, errors.NewErrorf(errors.InvalidArgument, "nats bus: an inbox prefix of %d bytes leaves no room for a subject "+
			"in a control line of %d bytes", len(inboxPrefix), o.maxControlLine)
	}
	return s, nil
}

// maxSubjectSize returns the maximum length of a subject in bytes. The limit leaves room for the
// reply subject of a forwarded frame (see forwardMark). If a line of the NATS protocol were too
// long, the server would close the connection.
func maxSubjectSize(maxControlLine int, inboxPrefix string) int {
	return maxControlLine - reservedInLine - 2*(len(inboxPrefix)+maxToken)
}

// of returns the NATS subject for channel and the routing key to append to its frames. The key may
// be empty.
func (s *subjects) of(channel bus.Channel) (subject, key string) {
	if s.perMethod && channel.Key != "" {
		return s.prefix + channel.Subject + "." + channel.Key, ""
	}
	return s.prefix + channel.Subject, channel.Key
}

// private returns the private subject of a queue and a routing key. It returns false if the routing
// key is empty or cannot be part of a subject, or if the private subject would be too long.
func (s *subjects) private(subject, key string) (string, bool) {
	if !isSubject(key) {
		return "", false
	}
	private := s.privatePrefix + strings.TrimPrefix(subject, s.prefix) + "." + key
	return private, len(private) <= s.max
}

// shared returns the subject of the queue to which a private subject belongs. It returns false if
// the private subject belongs to another routing key.
func (s *subjects) shared(private, key string) (string, bool) {
	rest, found := strings.CutSuffix(private, key)
	rest, dot := strings.CutSuffix(rest, ".")
	return s.prefix + strings.TrimPrefix(rest, s.privatePrefix), found && dot
}

func (s *subjects) isPrivate(subject string) bool { return strings.HasPrefix(subject, s.privatePrefix) }

// checkSize returns an error if subject is too long.
func (s *subjects) checkSize(subject string) error {
	if len(subject) <= s.max {
		return nil
	}
	return errors.NewErrorf(errors.InvalidArgument, "nats subject %q... is too long: it has %d bytes, the limit is %d: "+
		"shorten the topic, or raise max_control_line of the server and WithMaxControlLine",
		subject[:min(maxShown, len(subject))], len(subject), s.max)
}

// invalidError returns the error for a channel whose subject is not a valid NATS subject.
func (s *subjects) invalidError(err error, channel bus.Channel) error {
	subject, _ := s.of(channel)
	name := channel.String()
	return errors.NewErrorf(errors.InvalidArgument, "channel %s: %q is not a valid nats subject: %w",
		name[:min(maxShown, len(name))], subject[:min(maxShown, len(subject))], err)
}

// canPublish reports whether nats.go accepts subject for publishing. Calling IndexByte once per
// whitespace character takes half the time of strings.ContainsAny.
func canPublish(subject string) bool {
	for _, space := range [...]byte{' ', '\t', '\r', '\n'} {
		if strings.IndexByte(subject, space) >= 0 {
			return false
		}
	}
	return subject != ""
}

// isSubject reports whether s is a subject of letters, digits and underscores. The routing keys of
// services are such subjects. Frames from a faulty or malicious peer may contain any key.
func isSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || !isAlphanumeric(strings.ReplaceAll(token, "_", "")) {
			return false
		}
	}
	return true
}

func isAlphanumeric(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}
