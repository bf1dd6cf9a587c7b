package natsbus

import (
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Each subscription to a queue with a routing key also has a private subject, which no psrpc
// process knows. The processes that serve the routing key subscribe to it as a queue group. Other
// processes forward misrouted frames to it.
//
// This costs one NATS subscription for each subject and routing key. Each process creates it at
// once, because it cannot know which other processes are in the queue group. If it first looked for
// them, frames would be lost until then.

// privatePrefix is the beginning of a private subject. It follows the prefix set by [WithPrefix]
// and precedes the subject of the queue and the routing key. For example,
// DYN.QUEUE.SRV.Service.Q.Method.REQ is the private subject for the queue SRV.Service.Q and the
// routing key Method.REQ.
const privatePrefix = "DYN.QUEUE."

// privateSubject returns the private subject of a queue and a routing key. It returns false if the
// routing key is empty or cannot be part of a subject, or if the private subject would be too long.
func (b *Bus) privateSubject(subject, key string) (string, bool) {
	if !isSubject(key) {
		return "", false
	}
	private := b.privatePrefix + strings.TrimPrefix(subject, b.options.prefix) + "." + key
	return private, len(private) <= b.maxSubject
}

// sharedSubject returns the subject of the queue to which a private subject belongs. It returns
// false if the private subject belongs to another routing key.
func (b *Bus) sharedSubject(private, key string) (string, bool) {
	rest, found := strings.CutSuffix(private, key)
	rest, dot := strings.CutSuffix(rest, ".")
	return b.options.prefix + strings.TrimPrefix(rest, b.privatePrefix), found && dot
}

func (b *Bus) isPrivate(subject string) bool { return strings.HasPrefix(subject, b.privatePrefix) }

// isSubject reports whether s is a subject of letters, digits and underscores. The routing keys of
// services are such subjects. Frames from a faulty or malicious peer may contain any other key.
func isSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || !isAlphanumeric(strings.ReplaceAll(token, "_", "")) {
			return false
		}
	}
	return true
}

// onPrivateDenied is called when the server has denied a private subject. Until the bus reconnects,
// it returns misrouted frames to their queue group and does not use private subjects.
func (b *Bus) onPrivateDenied(err error) {
	if b.privateDenied.CompareAndSwap(false, true) {
		b.options.logger.Warn("nats bus: the server denied a private subject of a queue, so queue frames may be lost if the "+
			"processes on a subject serve different methods", "error", permissionError(err))
	}
}

// isDenied reports whether err says that the server has denied a publication on a private subject,
// so that no process has received the frame.
func isDenied(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }

const (
	// maxSmall is the maximum size, in bytes, of a small frame. The bus retains at most maxReports
	// small frames.
	maxSmall = 4 << 10
	// maxLargeBytes is the maximum total size, in bytes, of the larger frames that are retained.
	maxLargeBytes = 16 << 20
)

// retained limits the memory of misrouted frames that may have to return to their queue group. A
// small frame is retained until the server has confirmed that a process has received it. Larger
// frames are retained until there are too many newer ones.
type retained struct {
	mu sync.Mutex
	// large contains the latest large frames, oldest first, and size is their total size in bytes.
	large []*misrouted
	size  int
}

func (r *retained) add(f *misrouted) {
	if f.size <= maxSmall {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.large = append(r.large, f)
	r.size += f.size
	for r.size > maxLargeBytes && len(r.large) > 1 {
		oldest := r.large[0]
		oldest.frame, r.large[0] = nil, nil
		r.size -= oldest.size
		r.large = r.large[1:]
	}
}

// frame returns the bytes of f, or nil if they have been discarded.
func (r *retained) frame(f *misrouted) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.frame
}
