package natsbus_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// envelope returns a frame in psrpc's encoding. If key is empty, the frame has no routing key, like
// the frames that are passed to Publish.
func envelope(tb testing.TB, text, key string) []byte {
	tb.Helper()
	frame, err := proto.Marshal(&anypb.Any{TypeUrl: "type.googleapis.com/internal.Request", Value: []byte(text)})
	require.NoError(tb, err)
	if key != "" {
		const channel = 3
		frame = protowire.AppendString(protowire.AppendTag(frame, channel, protowire.BytesType), key)
	}
	return frame
}

// observe returns a channel of the messages that the server receives on the given subjects.
func observe(tb testing.TB, nc *nats.Conn, subjects ...string) <-chan *nats.Msg {
	tb.Helper()
	seen := make(chan *nats.Msg, 1024)
	for _, subject := range subjects {
		_, err := nc.ChanSubscribe(subject, seen)
		require.NoError(tb, err)
	}
	require.NoError(tb, nc.Flush())
	return seen
}

// The messages that the bus sends must be identical to those of psrpc.
func TestBus_FramesOnTheWire(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	seen := observe(t, connect(t, url), ">")
	for name, test := range map[string]struct {
		opts    []natsbus.Option
		channel bus.Channel
		subject string
		key     string
	}{
		"to servers":         {channel: requests, subject: "SRV.Svc.Q", key: "Method.REQ"},
		"to a client":        {channel: results, subject: "CLI.Svc.ID.RES"},
		"prefix":             {[]natsbus.Option{natsbus.WithPrefix("fleet1.")}, requests, "fleet1.SRV.Svc.Q", "Method.REQ"},
		"subject per method": {[]natsbus.Option{natsbus.WithSubjectPerMethod()}, requests, "SRV.Svc.Q.Method.REQ", ""},
		"a client's subject": {[]natsbus.Option{natsbus.WithSubjectPerMethod()}, results, "CLI.Svc.ID.RES", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t, url, test.opts...)
			frame := envelope(t, "hello", "")
			kept := string(frame)
			publish(t, b, test.channel, frame)
			m := soon(t, seen, "message")
			assert.Equal(t, test.subject, m.Subject)
			assert.Equal(t, envelope(t, "hello", test.key), m.Data)
			assert.Empty(t, m.Reply)
			assert.Empty(t, m.Header)
			assert.Equal(t, kept, string(frame))

			require.NoError(t, b.Publish(t.Context(), test.channel, frame, newReports()))
			m = soon(t, seen, "message with a report")
			assert.Equal(t, envelope(t, "hello", test.key), m.Data)
			assert.True(t, strings.HasPrefix(m.Reply, "_INBOX."), m.Reply)
			assert.Empty(t, m.Header)
		})
	}
	assert.Empty(t, seen)
}

// Frames sent by psrpc peers must reach only the subscribers with the same routing key.
func TestBus_FramesOfPsrpc(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	events, handler := newEvents()
	peer, b := connect(t, url), newBus(t, url, handler)
	plain := requests
	plain.Subject = "SRV.Svc"
	members := map[string]<-chan []byte{}
	for name, channel := range map[string]bus.Channel{"queue": requests, "plain": plain, "client": results} {
		join := bus.Broadcast
		if channel == requests {
			join = bus.Queue
		}
		members[name], _ = listen(t, b, channel, join)
	}
	send := func(subject string, frame []byte) { require.NoError(t, peer.Publish(subject, frame)) }

	send("SRV.Svc", envelope(t, "lost: no key", ""))
	send("SRV.Svc", envelope(t, "lost: another key", "Other.REQ"))
	send("SRV.Svc", []byte("not an envelope"))
	send("SRV.Svc", envelope(t, "to the plain member", "Method.REQ"))
	assert.Equal(t, envelope(t, "to the plain member", "Method.REQ"), soon(t, members["plain"], "plain"))

	send("SRV.Svc.Q", envelope(t, "to the queue", "Method.REQ"))
	assert.Equal(t, envelope(t, "to the queue", "Method.REQ"), soon(t, members["queue"], "queue"))

	send("CLI.Svc.ID.RES", envelope(t, "to a client, with a key by mistake", "Method.REQ"))
	assert.Equal(t, envelope(t, "to a client, with a key by mistake", "Method.REQ"), soon(t, members["client"], "client"))
	send("CLI.Svc.ID.RES", []byte("anything"))
	assert.Equal(t, "anything", string(soon(t, members["client"], "client")))

	for name, frames := range members {
		assert.Empty(t, frames, name)
	}
	assert.EqualValues(t, 1, b.Stats().Dropped, "the frame that is not an envelope")
	assert.Equal(t, map[string]uint64{"MALFORMED": 1}, b.Stats().DroppedBy)
	dropped := events.next(t, bus.Dropped)
	assert.Equal(t, "SRV.Svc", dropped.Channel)
	requireCode(t, errors.InvalidArgument, dropped.Err)
}

// psrpc servers and dynpsrpc servers must use the same queue group, so that they share the frames
// of a queue.
func TestBus_SharesQueuesWithPsrpc(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	peer, b, sender := connect(t, url), newBus(t, url), newBus(t, url)
	ours, _ := listen(t, b, requests, bus.Queue)
	theirs := make(chan *nats.Msg, 1000)
	_, err := peer.ChanQueueSubscribe(requests.Subject, "bus", theirs)
	require.NoError(t, err)
	require.NoError(t, peer.Flush())
	const frames = 400
	for range frames {
		publish(t, sender, requests, envelope(t, "x", ""))
	}
	require.Eventually(t, func() bool { return len(ours)+len(theirs) == frames }, testTimeout, testTimeout/1000, "frames are on their way")
	assert.Greater(t, len(ours), frames/20)
	assert.Greater(t, len(theirs), frames/20)
}
