package load

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Target is the method that the operations of a run use, and how they use it.
type Target struct {
	// Conn is the conn that sends the messages.
	Conn *dynamic.Conn
	// Method is the method to use. It belongs to the registry of Conn.
	Method *registry.Method
	// Data makes the messages.
	Data *Template
	// Options apply to each call, stream or update, and to the subscriptions. If the method has
	// topics, one of the options sets the topic.
	Options []dynamic.RequestOption
}

// messages is a client whose types are those of the conn's registry.
type messages = dynamic.Client[proto.Message, proto.Message]

func (t *Target) client() (*messages, error) {
	return dynamic.NewClient[proto.Message, proto.Message](t.Conn, t.Method.FullName())
}

// NewCalls returns an operation that makes one single call.
func NewCalls(t *Target) (Operation, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, request Request) error {
		message, err := t.Data.Message(request)
		if err != nil {
			return err
		}
		_, err = client.Call(ctx, message, t.Options...)
		return err
	}, nil
}

// MultiCalls makes multi calls.
type MultiCalls struct {
	target *Target
	client *messages

	mu    sync.Mutex
	calls uint64
	// responses counts the responses to measured calls.
	responses Responses
}

// NewMultiCalls returns a [MultiCalls] for a target. If expected is not 0, each call ends after
// that many responses.
func NewMultiCalls(t *Target, expected int) (*MultiCalls, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	withExpected := *t
	if expected > 0 {
		withExpected.Options = slices.Concat(t.Options, []dynamic.RequestOption{dynamic.WithExpectedResponses(expected)})
	}
	return &MultiCalls{target: &withExpected, client: client}, nil
}

// Do is an [Operation] that makes a multi call and waits for its end. It fails if no server answers
// or if a server answers with an error.
func (m *MultiCalls) Do(ctx context.Context, request Request) error {
	message, err := m.target.Data.Message(request)
	if err != nil {
		return err
	}
	answers, err := m.client.CallMulti(ctx, message, m.target.Options...)
	if err != nil {
		return err
	}
	var n uint64
	for answer := range answers {
		if answer.Err != nil {
			err = answer.Err
		} else {
			n++
		}
	}
	if n == 0 && err == nil {
		err = errors.NewErrorf(errors.Unavailable, "no server has answered")
	}
	if request.Measured {
		m.count(n)
	}
	return err
}

func (m *MultiCalls) count(responses uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == 0 || responses < m.responses.Fewest {
		m.responses.Fewest = responses
	}
	m.calls++
	m.responses.Total += responses
	m.responses.Most = max(m.responses.Most, responses)
}

// Responses returns how many responses the measured calls have received.
func (m *MultiCalls) Responses() *Responses {
	m.mu.Lock()
	defer m.mu.Unlock()
	counted := m.responses
	return &counted
}
