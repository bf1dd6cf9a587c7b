package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const streamSource = `
syntax = "proto3";
package streams;
import "options.proto";
import "google/protobuf/wrappers.proto";

service Flows {
  rpc Flow(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
  }
  rpc Direct(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
    option (psrpc.options).topic_params.single_server = true;
  }
  rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
    option (psrpc.options).type = AFFINITY;
  }
  rpc All(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
    option (psrpc.options).type = MULTI;
  }
  rpc Region(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
    option (psrpc.options).topics = true;
  }
  rpc Ask(google.protobuf.StringValue) returns (google.protobuf.StringValue);
}
`

const (
	flow       = "streams.Flows/Flow"
	directFlow = "streams.Flows/Direct"
	bestFlow   = "streams.Flows/Best"
	allFlows   = "streams.Flows/All"
	regionFlow = "streams.Flows/Region"
)

type (
	serverText = dynamic.ServerStream[text, text]
	clientText = dynamic.ClientStream[text, text]
)

// flowWorld is a world whose server serves streams.Flows.
type flowWorld struct {
	*world

	service *dynamic.Registration
}

// newFlowWorld returns a world whose stream methods all use handle. Methods with topics are served
// once a topic is registered. The timeouts of the server and the conn are long, unless opts contain
// others, so that tests succeed on a busy machine too.
func newFlowWorld(t testing.TB, b bus.Bus, handle func(serverText) error, opts ...dynamic.ServerOption) *flowWorld {
	t.Helper()
	opts = append([]dynamic.ServerOption{dynamic.WithServerTimeout(patience)}, opts...)
	w := &flowWorld{world: newWorldOn(t, b, opts...)}
	w.registry = newRegistry(t, streamSource)
	w.conn = w.newConn(t, dynamic.WithClientID("CLI_test"))
	w.service = w.serveFlows(t, w.server, handle)
	return w
}

func (w *flowWorld) serveFlows(
	t testing.TB, server *dynamic.Server, handle func(serverText) error, opts ...dynamic.HandlerOption,
) *dynamic.Registration {
	t.Helper()
	handler := dynamic.Stream(handle, opts...)
	// Without an affinity function, Register logs a warning. An option in opts takes precedence.
	affinity := dynamic.WithStreamAffinity(func(context.Context) float32 { return 1 })
	best := dynamic.Stream(handle, append([]dynamic.HandlerOption{affinity}, opts...)...)
	service, err := server.Register(descriptor(t, w.registry, "streams.Flows"), dynamic.Handlers{
		"Flow": handler, "Direct": handler, "Best": best, "All": handler, "Region": handler,
		"Ask": dynamic.Unary(echoHandler),
	})
	require.NoError(t, err)
	return service
}

// newConn returns a conn that is closed when the test ends. Its timeouts are long, unless opts
// contain others.
func (w *flowWorld) newConn(t testing.TB, opts ...dynamic.ConnOption) *dynamic.Conn {
	t.Helper()
	conn, err := dynamic.NewConn(w.bus, w.registry, append(slices.Clone(patient), opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// newServer returns a server that is killed when the test ends.
func (w *flowWorld) newServer(t testing.TB, opts ...dynamic.ServerOption) *dynamic.Server {
	t.Helper()
	server := dynamic.NewServer(w.bus, opts...)
	t.Cleanup(server.Kill)
	return server
}

func (w *flowWorld) tryOpen(t testing.TB, ctx context.Context, name string, opts ...dynamic.RequestOption) (clientText, error) {
	t.Helper()
	return textClient(t, w.conn, name).OpenStream(ctx, opts...)
}

func (w *flowWorld) open(t testing.TB, name string, opts ...dynamic.RequestOption) clientText {
	t.Helper()
	stream, err := w.tryOpen(t, t.Context(), name, opts...)
	require.NoError(t, err)
	return stream
}

func say(body string) text { return wrapperspb.String(body) }

// echoFlow sends back each message until the stream is closed.
func echoFlow(stream serverText) error {
	for message := range stream.Channel() {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// idle reads no messages. It returns when the stream has ended.
func idle(stream serverText) error {
	<-stream.Context().Done()
	return nil
}

// handing returns a handler that passes each stream to the test. The handler returns the error
// that the test sends, or nil when the test ends.
func handing(t testing.TB) (handle func(serverText) error, streams chan serverText, results chan error) {
	streams, results = make(chan serverText, 10), make(chan error, 10)
	return func(stream serverText) error {
		streams <- stream
		select {
		case err := <-results:
			return err
		case <-t.Context().Done():
			return nil
		}
	}, streams, results
}

func requireText(t testing.TB, want string, from <-chan text) {
	t.Helper()
	message := requireSoon(t, from, want)
	require.NotNil(t, message, "the channel was closed before %q came", want)
	require.Equal(t, want, message.GetValue())
}

// requireClosed checks that a channel is closed soon, and returns the number of values that were
// left in it.
func requireClosed[T any](t testing.TB, messages <-chan T) (left int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case _, open := <-messages:
			if !open {
				return left
			}
			left++
		case <-deadline:
			require.FailNow(t, "the channel was not closed")
		}
	}
}

// flowPeer lets a test send and receive single stream frames, as a psrpc client or server of
// streams.Flows would.
type flowPeer struct {
	peer

	method string // the wire name of the method
	frames <-chan wire.Envelope
	id     string // the ID of the stream
	client string // the ID of the client that has opened the stream
	count  int
}

func (p *flowPeer) serverChannel() bus.Channel {
	return bus.Channel(wire.StreamServerChannel("Flows", p.method, nil))
}

func (p *flowPeer) clientChannel() bus.Channel {
	return bus.Channel(wire.StreamClientChannel("Flows", p.client))
}

// newFlowClient returns a peer that acts as the client and receives its frames.
func newFlowClient(t testing.TB, b bus.Bus, method string) *flowPeer {
	t.Helper()
	p := &flowPeer{peer: peer{t, b}, method: method, id: "STR_peerpeerpeer", client: peerClient}
	p.frames = p.listen(p.clientChannel(), bus.Broadcast)
	return p
}

// newFlowServer returns a peer that acts as a server and receives the frames for servers.
func newFlowServer(t testing.TB, b bus.Bus, method string) *flowPeer {
	t.Helper()
	p := &flowPeer{peer: peer{t, b}, method: method}
	p.frames = p.listen(p.serverChannel(), bus.Broadcast)
	return p
}

// frame adds the missing fields to a stream frame: the stream ID, a new request ID and valid
// times.
func (p *flowPeer) frame(f wire.Stream) *wire.Stream {
	p.count++
	if f.StreamID == nil {
		f.StreamID = []byte(p.id)
	}
	if f.RequestID == nil {
		f.RequestID = fmt.Appendf(nil, "REQ_peer%08d", p.count)
	}
	now := time.Now()
	if f.SentAt == 0 {
		f.SentAt = now.UnixNano()
	}
	if f.Expiry == 0 {
		f.Expiry = now.Add(time.Minute).UnixNano()
	}
	return &f
}

func (p *flowPeer) toServer(f wire.Stream) *wire.Stream {
	p.t.Helper()
	sent := p.frame(f)
	p.send(p.serverChannel(), sent)
	return sent
}

func (p *flowPeer) toClient(f wire.Stream) *wire.Stream {
	p.t.Helper()
	sent := p.frame(f)
	p.send(p.clientChannel(), sent)
	return sent
}

// next returns the next frame, which must have the operation op.
func (p *flowPeer) next(op wire.StreamOp) wire.Stream {
	p.t.Helper()
	envelope := requireSoon(p.t, p.frames, "stream frame")
	require.Equal(p.t, wire.KindStream, envelope.Kind)
	frame, err := wire.ParseStream(envelope.Value)
	require.NoError(p.t, err)
	require.Equal(p.t, op, frame.Op, "%+v", frame)
	return frame
}

// ack returns the acknowledgement of a frame, with the fields that psrpc sets.
func ack(f wire.Stream) wire.Stream {
	return wire.Stream{StreamID: f.StreamID, RequestID: f.RequestID, SentAt: f.SentAt, Expiry: f.Expiry, Op: wire.StreamAck}
}

// requireAck checks that got is the acknowledgement of sent.
func requireAck(t testing.TB, sent, got wire.Stream) {
	t.Helper()
	require.Equal(t, ack(sent), got)
}

// openAsClient opens a stream of a method that needs no claim.
func (p *flowPeer) openAsClient() {
	p.t.Helper()
	open := p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client)})
	requireAck(p.t, *open, p.next(wire.StreamAck))
}

// acceptAsServer accepts the next stream that a client opens without a claim.
func (p *flowPeer) acceptAsServer() wire.Stream {
	p.t.Helper()
	open := p.next(wire.StreamOpen)
	p.id, p.client = string(open.StreamID), string(open.NodeID)
	p.toClient(ack(open))
	return open
}

func textBody(body string) wire.Body { return wire.Body{Message: say(body)} }

func bodyText(t testing.TB, f wire.Stream) string {
	t.Helper()
	var message wrapperspb.StringValue
	requireUnmarshal(t, f.Body.Raw, &message)
	return message.GetValue()
}

var discard = slog.New(slog.DiscardHandler)
