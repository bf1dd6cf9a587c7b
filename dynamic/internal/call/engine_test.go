package call

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// child records the errors with which it is ended.
type child struct{ ended chan error }

func newChild() *child { return &child{make(chan error, 1)} }

func (c *child) End(err error) { c.ended <- err }

func TestEngine_CloseEndsChildrenAndGoroutines(t *testing.T) {
	t.Parallel()
	e := New(newConfig(bus.NewLocal()))
	open, gone := newChild(), newChild()
	require.NoError(t, e.Track(open))
	require.NoError(t, e.Track(gone))
	e.Untrack(gone)
	finished := false
	require.NoError(t, e.Go(func() {
		<-e.Done()
		finished = true
	}))
	require.NoError(t, e.Err())

	require.NoError(t, e.Close())
	assert.True(t, finished, "Close waits for goroutines")
	require.ErrorIs(t, <-open.ended, errors.ErrClientClosed)
	assert.Empty(t, gone.ended)

	require.ErrorIs(t, e.Go(func() { t.Error("the engine is closed") }), errors.ErrClientClosed)
	require.ErrorIs(t, e.Track(open), errors.ErrClientClosed)
	_, err := e.NewPlan(t.Context(), newMethod(t, "Queue"))
	require.ErrorIs(t, err, errors.ErrClientClosed)
	require.NoError(t, e.Close(), "Close may be called again")
}

func TestEngine_EndsWithItsBus(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	e := New(newConfig(b))
	open := newChild()
	require.NoError(t, e.Track(open))
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-open.ended, bus.ErrClosed)
	require.ErrorIs(t, e.Err(), bus.ErrClosed)
	_, reason := e.closeError()
	assert.Equal(t, errors.ReasonBusDown, reason)
	require.NoError(t, e.Close())
}

func TestEngine_Bounds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		configured, context, own time.Duration
		timeout, expiry          time.Duration
	}{
		"default":                 {0, 0, 0, defaultTimeout, defaultTimeout},
		"configured":              {time.Minute, 0, 0, time.Minute, time.Minute},
		"deadline":                {0, time.Hour, 0, time.Hour, time.Hour},
		"deadline, configured":    {time.Minute, time.Second, 0, time.Second, time.Second},
		"configured, deadline":    {time.Second, time.Minute, 0, time.Second, time.Second},
		"own":                     {time.Minute, 0, time.Hour, time.Hour, time.Hour},
		"own, earlier deadline":   {0, time.Second, time.Minute, time.Minute, time.Second},
		"own, more than possible": {0, 0, 2 * transport.MaxTimeout, transport.MaxTimeout, transport.MaxTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := newConfig(bus.NewLocal())
			config.Timeout = test.configured
			e := New(config)
			defer func() { assert.NoError(t, e.Close()) }()
			ctx := t.Context()
			if test.context > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, now.Add(test.context))
				defer cancel()
			}
			timeout, expiry := e.Bounds(ctx, now, test.own)
			assert.Equal(t, test.timeout, timeout)
			assert.Equal(t, test.expiry, expiry.Sub(now))
			assert.Equal(t, max(test.configured, defaultTimeout), e.CloseTimeout())
		})
	}
}

func TestIDs_InvalidOnesAreReplaced(t *testing.T) {
	t.Parallel()
	next := ""
	config := newConfig(bus.NewLocal())
	config.NewID = func(prefix string) string { return prefix + next }
	e := New(config)
	defer func() { assert.NoError(t, e.Close()) }()
	next = "123456789_-a"
	request := e.ids.newRequest()
	assert.Equal(t, "REQ_123456789_-a", string(request[:]))
	stream := e.ids.newStream()
	assert.Equal(t, "STR_123456789_-a", string(stream[:]))
	for _, next = range []string{"", "short", "123456789 12", strings.Repeat("x", 13)} {
		request := e.ids.newRequest()
		assert.Regexp(t, "^REQ_[a-zA-Z0-9]{12}$", string(request[:]))
	}
}

func TestMemberships_ForgetTopicsAtTheLimit(t *testing.T) {
	t.Parallel()
	var m memberships
	method := m.get("method", false, nil)
	topic := m.get("topic", true, nil)
	assert.Same(t, method, m.get("method", false, nil))
	assert.Same(t, topic, m.find("topic"))
	assert.Nil(t, m.find("other"))
	for range maxMemberships {
		m.get(id.New("topic"), true, nil)
	}
	assert.Same(t, method, m.find("method"), "methods are never forgotten")
	assert.Nil(t, m.find("topic"))
	assert.LessOrEqual(t, len(m.ofTopics), maxMemberships)
}

// recordingCall is a pendingCall that counts the calls to onClosed.
type recordingCall struct {
	pendingCall

	closed int
}

func (r *recordingCall) onClosed() { r.closed++ }

func TestPendingCalls_Dispatch(t *testing.T) {
	t.Parallel()
	var p pendingCalls
	callID, call := id.NewRequest(), &recordingCall{}
	p.add(callID, call)
	found, useful := p.dispatch(callID[:], func(got pendingCall) bool { return got == call })
	assert.True(t, found)
	assert.True(t, useful)
	p.notifyClosed()
	assert.Equal(t, 1, call.closed)

	p.remove(callID)
	for _, unknown := range []string{string(callID[:]), "", "too short"} {
		found, useful = p.dispatch([]byte(unknown), func(pendingCall) bool { return true })
		assert.False(t, found || useful, unknown)
	}
}
