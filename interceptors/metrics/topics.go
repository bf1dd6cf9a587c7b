package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/topictext"
)

const (
	// otherTopic is the label of topics that are too long, and of all further topics once the
	// maximum number of topics is reached.
	otherTopic = "_OTHER"
	// maxTopicLength is the maximum length of a topic's label, in bytes.
	maxTopicLength = 256
)

// topics converts topics to labels. It limits the number of labels, because topics are often chosen
// by users.
type topics struct {
	enabled bool
	maximum int

	// mu is held while the map in known is replaced.
	mu sync.Mutex
	// known contains the labels that have been used. The map is replaced but never modified, so
	// that calls can read it without a lock.
	known atomic.Pointer[map[string]bool]
}

// label returns the label of a topic.
func (t *topics) label(topic []string) string {
	label := topictext.Join(topic)
	known := t.known.Load()
	switch {
	case known != nil && (*known)[label]:
		return label
	case known != nil && len(*known) >= t.maximum || len(label) > maxTopicLength:
		return otherTopic
	}
	return t.add(label)
}

// add adds a label to known and returns it. If known already has the maximum number of labels, add
// returns otherTopic instead.
func (t *topics) add(label string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := map[string]bool{label: true}
	if earlier := t.known.Load(); earlier != nil {
		maps.Copy(known, *earlier)
	}
	if len(known) > t.maximum {
		return otherTopic
	}
	t.known.Store(&known)
	return label
}
