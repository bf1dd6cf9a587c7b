package call

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
)

// maxMemberships is the maximum number of topics for which an engine remembers which servers have
// answered. A topic that is used with several methods counts once for each method. When the limit
// is reached, the engine forgets all topics. Without a limit, a program that uses more and more
// topics would run out of memory.
const maxMemberships = 10_000

// memberships contains a [selection.Membership] for each method and topic that an engine uses and
// whose servers it must know. The keys are the names of request channels. The zero value is ready
// to use.
type memberships struct {
	mu                  sync.Mutex
	ofMethods, ofTopics map[string]*selection.Membership
}

// asker sends further discovery requests for a request channel; see
// [selection.Membership.AskAgain].
type asker interface {
	askAgain(requests string, answered []string)
}

// get returns the [selection.Membership] of a request channel, which records the servers that
// answer on it. If there is none, get creates it. hasTopic reports whether the channel belongs to a
// topic. asker is nil if clients need not know the servers.
func (m *memberships) get(channel string, hasTopic bool, asker asker) *selection.Membership {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := m.findLocked(channel); found != nil {
		return found
	}
	created := &selection.Membership{}
	if asker != nil {
		created.AskAgain = func(answered []string) { asker.askAgain(channel, answered) }
	}
	m.addLocked(channel, hasTopic, created)
	return created
}

// find returns the [selection.Membership] of a request channel, or nil if there is none.
func (m *memberships) find(channel string) *selection.Membership {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.findLocked(channel)
}

func (m *memberships) findLocked(channel string) *selection.Membership {
	if found := m.ofMethods[channel]; found != nil {
		return found
	}
	return m.ofTopics[channel]
}

func (m *memberships) addLocked(channel string, hasTopic bool, membership *selection.Membership) {
	if m.ofMethods == nil {
		m.ofMethods = map[string]*selection.Membership{}
	}
	if m.ofTopics == nil || len(m.ofTopics) >= maxMemberships {
		m.ofTopics = map[string]*selection.Membership{}
	}
	if hasTopic {
		m.ofTopics[channel] = membership
	} else {
		m.ofMethods[channel] = membership
	}
}
