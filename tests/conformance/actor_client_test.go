package conformance_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// clientActor is a dynpsrpc client that makes the calls of a recorded scenario.
type clientActor struct {
	*play

	conn   *dynamic.Conn
	client *dynamic.Client[proto.Message, proto.Message]
	// ctx is the context of all calls and streams.
	ctx    context.Context
	cancel context.CancelFunc
	sends  atomic.Int64
	// stream is the open stream. Only the goroutine started by inOrder uses it.
	stream dynamic.ClientStream[proto.Message, proto.Message]
}

// newClientActor creates a dynpsrpc client. It also subscribes on behalf of the recorded servers,
// so that the client finds subscribers.
func newClientActor(p *play) (actor, func()) {
	m := p.scenario.target(p.service)
	for range p.scenario.serverIDs() {
		if p.script.nobody {
			break
		}
		peer := p.broker.link(p.T)
		if p.scenario.Method.Stream {
			peer.listen(m.streams(), false, func(frame) {})
		} else {
			peer.listen(m.requests(), m.queue, func(frame) {})
		}
	}
	options := []dynamic.ConnOption{
		dynamic.WithClientID(p.scenario.clientID()), dynamic.AllowEmptyTopicParts(), dynamic.WithSelectionTimeout(p.selectionTimeout()),
	}
	if !p.script.exactTimes && !p.script.defaultTimeout {
		options = append(options, dynamic.WithClientTimeout(p.bindings.scaled(dynamic.DefaultClientTimeout)))
	}
	conn, err := dynamic.NewConn(p.bus(), p.registry, options...)
	require.NoError(p, err)
	c, err := dynamic.NewClient[proto.Message, proto.Message](conn, "scenario.Recorded/"+p.scenario.Method.Name)
	require.NoError(p, err)
	if len(p.scenario.Method.Topics) > 0 {
		c = c.Topic(p.scenario.Method.Topics...)
	}
	a := &clientActor{play: p, conn: conn, client: c}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	p.client = a
	return a, func() {
		assert.NoError(p, conn.Close())
		a.cancel()
	}
}

// selectionTimeout returns the selection timeout of the client.
func (p *play) selectionTimeout() time.Duration {
	if p.script.unselected {
		return dynamic.DefaultSelectionTimeout
	}
	return timeScale * dynamic.DefaultSelectionTimeout
}

func (a *clientActor) provoke(r recorded, f frame) {
	switch {
	case f.typeName() == typeRequest:
		a.call(a.ctx, "client_result", f, a.options(f, f.inner.metadata(requestMetadata))...)
	case f.isStream(streamOpen):
		metadata := f.inner.sub(streamOpen).metadata(openMetadata)
		a.open(a.ctx, a.options(f, metadata)...)
	case f.isStream(streamMessage):
		a.sendMessage(f)
	case f.isStream(streamClose):
		a.Fatalf("the script does not say why frame %d closes the stream", r.Seq)
	}
}

// options returns the options for repeating a recorded request: its timeout, its metadata, and the
// options that the script adds.
func (a *clientActor) options(f frame, metadata map[string]string) []dynamic.RequestOption {
	var options []dynamic.RequestOption
	timeout := a.bindings.lifetime(f.typeName(), f.inner)
	if timeout > 0 && !a.isDefault(timeout) && timeout%time.Millisecond == 0 {
		options = append(options, dynamic.WithRequestTimeout(timeout))
	}
	if metadata != nil {
		options = append(options, dynamic.WithMetadata(metadata))
	}
	return append(options, a.script.options...)
}

// isDefault reports whether a timeout is the default of the client.
func (p *play) isDefault(timeout time.Duration) bool {
	return timeout == p.bindings.scaled(dynamic.DefaultClientTimeout)
}

// call starts a call and returns without waiting for it. The result is stored in the outcome under
// the key name.
func (a *clientActor) call(ctx context.Context, name string, f frame, options ...dynamic.RequestOption) {
	request := a.newBody(f)
	a.calls.Go(func() {
		if a.scenario.Method.Type == "MULTI" {
			a.callMulti(ctx, request, options)
			return
		}
		response, err := a.client.Call(ctx, request, options...)
		a.note(name, result(response, err))
	})
}

func (a *clientActor) callMulti(ctx context.Context, request proto.Message, options []dynamic.RequestOption) {
	responses, err := a.client.CallMulti(ctx, request, options...)
	if err != nil {
		a.note("client_results", result(nil, err))
		return
	}
	a.note("client_results", nil)
	for response := range responses {
		a.add("client_results", result(response.Result, response.Err))
	}
}

func result(response proto.Message, err error) any {
	if err != nil {
		return map[string]any{"error": errorOutcome(err)}
	}
	return map[string]any{"ok": bodyText(response)}
}

// open opens a stream in the background and records the messages that the client receives on it.
func (a *clientActor) open(ctx context.Context, options ...dynamic.RequestOption) {
	a.inOrder("stream", func() {
		stream, err := a.client.OpenStream(ctx, options...)
		if err != nil {
			a.note("open", map[string]any{"error": errorOutcome(err)})
			return
		}
		a.note("open", map[string]any{"ok": true})
		a.stream = stream
		a.calls.Go(func() {
			for received := range stream.Channel() {
				a.add("client_received", bodyText(received))
			}
			a.note("client_stream_err", errorOutcome(stream.Err()))
		})
	})
}

// sendMessage sends a message in the background, after all earlier operations on the stream.
func (a *clientActor) sendMessage(f frame) {
	var options []dynamic.StreamOption
	timeout := a.bindings.lifetime(f.typeName(), f.inner)
	if !a.isDefault(timeout) && timeout%time.Millisecond == 0 {
		options = append(options, dynamic.WithStreamTimeout(timeout))
	}
	message := a.newBody(f)
	a.inOrder("stream", func() {
		outcome := errorOutcome(a.stream.Send(message, options...))
		a.note("client_send", outcome)
		a.note("send_"+string(rune('0'+a.sends.Add(1))), outcome)
	})
}

// closeStream closes the stream in the background, after all earlier operations on the stream.
func (a *clientActor) closeStream(cause error) {
	a.inOrder("stream", func() {
		a.note("client_close_returned", errorOutcome(a.stream.Close(cause)))
		a.note("second_close_returned", errorOutcome(a.stream.Close(cause)))
		a.note("client_send_after_close", errorOutcome(a.stream.Send(a.newBody(frame{}))))
	})
}
