package driver_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// newLogger returns a logger that writes to out and omits the time.
func newLogger(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestApply_IgnoresNilOptions(t *testing.T) {
	t.Parallel()
	type option func(*int)
	n := 0
	driver.Apply(&n, []option{func(n *int) { *n = 1 }, nil, func(n *int) { *n += 10 }})
	assert.Equal(t, 11, n)
}

func TestOptions_Complete(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	problems := driver.NewProblems("x bus: ")
	o := driver.Options{Logger: newLogger(&out)}
	o.Complete(problems, "x bus", "topic")
	require.NoError(t, problems.Err())
	o.OnEvent(bus.Event{Kind: bus.Reconnected})
	assert.Equal(t, "level=INFO msg=\"x bus reconnected\"\n", out.String())

	called := false
	o = driver.Options{OnEvent: func(bus.Event) { called = true }}
	o.Complete(problems, "x bus", "topic")
	require.EqualError(t, problems.Err(), "x bus: logger is nil")
	o.OnEvent(bus.Event{})
	assert.True(t, called, "the handler of the program stays")
}

func TestProblems_NamesAll(t *testing.T) {
	t.Parallel()
	problems := driver.NewProblems("x bus: ")
	require.NoError(t, problems.Err())
	cause := errors.New("cause")
	problems.AddIf(false, "not added")
	problems.AddIf(true, "size is %d", 3)
	problems.Addf("parameter: %w", cause)
	problems.AddErr(nil)
	problems.AddErr(cause)
	err := problems.Err()
	require.ErrorIs(t, err, errors.InvalidArgument)
	require.ErrorIs(t, err, cause)
	assert.Equal(t, "x bus: size is 3\nx bus: parameter: cause\nx bus: cause", err.Error())
}

func TestEvents_AreHandledInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events, done, reason := driver.NewEvents(), make(chan struct{}), errors.New("reason")
		var got []bus.Event
		ended := make(chan struct{})
		go func() { // the test waits for ended
			defer close(ended)
			events.Run(done, func(e bus.Event) { got = append(got, e) })
		}()
		events.Disconnected(reason)
		events.Reconnected()
		events.Dropped("channel", 7, reason)
		close(done)
		<-ended
		assert.Equal(t, []bus.Event{
			{Kind: bus.Disconnected, Err: reason},
			{Kind: bus.Reconnected},
			{Kind: bus.Dropped, Channel: "channel", Frames: 7, Err: reason},
		}, got)
	})
}

func TestEvents_NeverBlock(t *testing.T) {
	t.Parallel()
	events := driver.NewEvents()
	for range 10_000 {
		events.Reconnected()
	}
	done, handled := make(chan struct{}), 0
	close(done)
	events.Run(done, func(bus.Event) { handled++ })
	assert.Positive(t, handled)
	assert.Less(t, handled, 10_000)
}

func TestLogEvents(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := driver.LogEvents(newLogger(&out), "x bus", "subject")
	log(bus.Event{Kind: bus.Disconnected, Err: errors.New("reason")})
	log(bus.Event{Kind: bus.Dropped, Channel: strings.Repeat("c", 300), Frames: 2, Err: errors.New("cause")})
	assert.Equal(t, "level=WARN msg=\"x bus disconnected\" error=reason\n"+
		"level=WARN msg=\"x bus dropped frames\" subject="+strings.Repeat("c", 200)+" frames=2 error=cause\n", out.String())
}

func TestCounters_Stats(t *testing.T) {
	t.Parallel()
	var c driver.Counters
	assert.Equal(t, bus.Stats{Connected: true}, c.Stats(true))
	c.Published.Add(1)
	c.PublishErrors.Add(2)
	c.Received.Add(3)
	c.Disconnects.Add(4)
	c.Drops.Add("A", 5, time.Second)
	c.Drops.Add("B", 6, time.Second)
	assert.Equal(t, bus.Stats{
		Published: 1, PublishErrors: 2, Received: 3, Disconnects: 4,
		Dropped: 11, DroppedBy: map[string]uint64{"A": 5, "B": 6},
	}, c.Stats(false))
}

// beforeDot returns what precedes the first dot of a name.
func beforeDot(name string) (string, bool) {
	prefix, _, found := strings.Cut(name, ".")
	return prefix, found
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	prefixes := driver.NewPrefixes("own.")
	for _, name := range []string{"own.a.x", "b.x", "own.a.y", "own.none", "none"} {
		prefixes.Add(name, beforeDot)
	}
	assert.Equal(t, []string{"b", "own.a"}, prefixes.Sorted())
}

func TestPrefixes_AreBounded(t *testing.T) {
	t.Parallel()
	prefixes := driver.NewPrefixes("")
	for i := range 2 * bus.MaxPrefixes {
		prefixes.Add(fmt.Sprint(i, ".x"), beforeDot)
	}
	assert.Len(t, prefixes.Sorted(), bus.MaxPrefixes)
}
