package natsbus_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// Subjects of every length must either work or be rejected with the code InvalidArgument, whichever
// part of the subject is long. If the bus sent a subject that is too long, the server would close
// the connection.
func TestBus_SubjectOfAnyLength(t *testing.T) {
	t.Parallel()
	subjectOf := func(size int) bus.Channel {
		return bus.Channel{Name: "long", Subject: "CLI." + strings.Repeat("x", size-4)}
	}
	keyOf := func(size int) bus.Channel { // with WithSubjectPerMethod, the key is part of the subject
		return bus.Channel{Name: "long", Subject: "SRV", Key: strings.Repeat("k", size-4)}
	}
	for name, tt := range map[string]struct {
		line    int // the server's limit for the length of a control line
		opts    []natsbus.Option
		nats    []nats.Option
		channel func(size int) bus.Channel
	}{
		"default":        {4096, nil, nil, subjectOf},
		"short lines":    {1024, []natsbus.Option{natsbus.WithMaxControlLine(1024)}, nil, subjectOf},
		"long lines":     {64 << 10, []natsbus.Option{natsbus.WithMaxControlLine(64 << 10)}, nil, subjectOf},
		"long prefix":    {4096, []natsbus.Option{natsbus.WithPrefix(strings.Repeat("p", 2000) + ".")}, nil, subjectOf},
		"per method":     {4096, []natsbus.Option{natsbus.WithSubjectPerMethod()}, nil, keyOf},
		"long inbox":     {4096, nil, []nats.Option{nats.CustomInboxPrefix(strings.Repeat("i", 1000))}, subjectOf},
		"too long inbox": {4096, nil, []nats.Option{nats.CustomInboxPrefix(strings.Repeat("i", 1930))}, subjectOf},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testenv.NATS(t, func(o *server.Options) { o.MaxControlLine = int32(tt.line) }).URL()
			nc := connect(t, url, tt.nats...)
			b := newBusOn(t, nc, tt.opts...)
			longest := 0
			sizes := []int{10, 100, 500, 700, 1000, 2000, 3000}
			for size := tt.line - 300; size < tt.line+20; size += 3 {
				sizes = append(sizes, size)
			}
			sizes = append(sizes, 2*tt.line, 100_000, 1<<20)
			for _, size := range sizes {
				channel := tt.channel(size)
				frames := make(chan []byte, 10)
				s, err := b.Subscribe(t.Context(), channel, bus.Mode(size%2), func(frame []byte) { frames <- frame })
				if err != nil {
					requireCode(t, errors.InvalidArgument, err)
					assert.Less(t, len(err.Error()), 300, "the error does not repeat the subject")
					requireCode(t, errors.InvalidArgument, b.Publish(t.Context(), channel, nil, nil))
					requireCode(t, errors.InvalidArgument, b.Publish(t.Context(), channel, nil, newReports()))
					continue
				}
				longest = size
				publish(t, b, channel, envelope(t, "x", ""))
				require.NoError(t, b.Publish(t.Context(), channel, envelope(t, "x", ""), newReports()))
				soon(t, frames, "frame")
				soon(t, frames, "frame with a reply subject")
				s.Close()
				nobody := newReports()
				require.NoError(t, b.Publish(t.Context(), channel, nil, nobody))
				assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
			}
			t.Logf("%d sizes; the longest part that works has %d bytes of lines of %d", len(sizes), longest, tt.line)
			assert.Positive(t, longest)
			assert.Zero(t, b.Stats().Disconnects)
			assert.True(t, nc.IsConnected())
		})
	}
	_, err := natsbus.New(connect(t, testenv.NATS(t).URL(), nats.CustomInboxPrefix(strings.Repeat("i", 2000))))
	requireCode(t, errors.InvalidArgument, err)
}

// The sender of a frame chooses its reply subject. A process that forwards the frame must not
// publish to arbitrary subjects chosen by the sender. Otherwise, the sender could reach subjects
// that it must not publish to, or make the server close the connection of that process.
func TestBus_ForeignReplySubjects(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	sender := connect(t, url)
	inbox := strings.TrimPrefix(sender.NewInbox(), "_INBOX.")
	var replies []string
	for _, reply := range []string{
		"x", "CLI.Svc.ID.RES", "orders.new", "a.b.c.d", "_INBOX.x", "_INBOX.x.1", "_INBOX." + inbox, "_INBOX." + inbox + ".1.2",
		"_INBOX." + inbox + ".TOO_ODD", "_INBOX." + strings.Repeat("1", 22) + "." + strings.Repeat("1", 14), "$SYS.REQ.SERVER.PING",
		"prefix._INBOX." + inbox + ".1", strings.Repeat("r", 4000), "_INBOX." + strings.Repeat("r", 4030), "_INBOX." + inbox + ".PASSED.x",
	} {
		replies = append(replies, reply)
		for _, hops := range []int{0, 1, 15, 16, 17} {
			replies = append(replies, fmt.Sprint("y.PASSED.", hops, ".", reply))
		}
	}
	// The test subscribes to the reply subjects of the frames below. It leaves out the long subjects
	// and the subjects that the sender may use.
	spied := connect(t, url)
	seen := observe(t, spied, "x", "CLI.>", "orders.>", "a.>", "_INBOX.x.>", "_INBOX.x", "_INBOX."+inbox+".>", "_INBOX."+inbox, "prefix.>")

	events, handler := newEvents()
	b, other := newBus(t, url, handler, allReports, noLateFrames), newBus(t, url, allReports, noLateFrames)
	listen(t, b, others, bus.Queue)
	// The other bus forwards about half of the frames to this one.
	frames, _ := listen(t, other, requests, bus.Queue)
	sent := 0
	for _, reply := range replies {
		if len(reply)+len(requests.Subject) > 4096-32 {
			continue // the server would close the sender's connection
		}
		for range 4 {
			require.NoError(t, sender.PublishRequest(requests.Subject, reply, envelope(t, "x", requests.Key)))
			sent++
		}
	}
	require.NoError(t, sender.Flush())
	require.Eventually(t, func() bool {
		return len(frames)+int(b.Stats().Dropped+other.Stats().Dropped) == sent
	}, testTimeout, testTimeout/1000, "each frame arrives or is counted")
	t.Logf("%d frames: %d delivered, %d dropped", sent, len(frames), b.Stats().Dropped)
	require.NoError(t, spied.Flush())
	assert.Empty(t, seen, "nothing is published for the sender")
	assert.Zero(t, b.Stats().Disconnects+other.Stats().Disconnects)
	events.next(t, bus.Dropped)
	assert.Empty(t, events, "the events are limited")

	// If the reply subject belongs to another bus, that bus must still receive its delivery report.
	reports := newReports()
	const publishers = 10
	for range publishers {
		publisher := newBus(t, url, allReports)
		require.NoError(t, publisher.Publish(t.Context(), bus.Channel{Subject: requests.Subject, Key: "Nobody.REQ"},
			envelope(t, "x", ""), reports))
	}
	for range publishers {
		assert.Equal(t, published{0, nil}, soon(t, reports, "report"))
	}
}
