package conformance_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// serverActor runs the dynpsrpc servers of a recorded scenario. Each server has its own connection.
type serverActor struct {
	*play

	servers []*dynamic.Server
	// started receives each stream whose handler has started.
	started chan servedStream
	// ended receives a value whenever a stream handler returns.
	ended chan struct{}

	runs    atomic.Int64
	lock    sync.Mutex
	streams []servedStream
}

// servedStream is a stream whose handler is running.
type servedStream struct {
	server  string
	stream  dynamic.ServerStream[proto.Message, proto.Message]
	returns chan error // receives the error that the handler must return
}

func newServerActor(p *play) (actor, func()) {
	a := &serverActor{play: p, started: make(chan servedStream, 10), ended: make(chan struct{}, 10)}
	p.server = a
	p.note("handler_ran", 0)
	for _, id := range p.scenario.serverIDs() {
		options := []dynamic.ServerOption{
			dynamic.WithServerID(id), dynamic.WithLogger(slog.New(slog.DiscardHandler)), dynamic.AllowEmptyTopicParts(),
		}
		if !p.script.exactTimes {
			options = append(options, dynamic.WithServerTimeout(p.bindings.scaled(dynamic.DefaultServerTimeout)))
		}
		s := dynamic.NewServer(p.bus(), options...)
		p.register(s, dynamic.Handlers{p.scenario.Method.Name: a.handler(id)})
		a.servers = append(a.servers, s)
	}
	return a, func() {
		for range a.accepted() {
			_, ended := soon(a.ended)
			assert.True(p, ended, "a stream was not closed")
		}
		a.shutdown()
	}
}

// accepted returns the number of streams that the recorded servers accepted.
func (a *serverActor) accepted() (n int) {
	opening := ""
	for _, r := range a.scenario.Frames {
		f := r.frame(a)
		if f.isStream(streamOpen) {
			opening = f.inner.text(streamRequest)
		}
		if f.isStream(streamAck) && r.From == string(server) && f.inner.text(streamRequest) == opening {
			n++
		}
	}
	return n
}

func (a *serverActor) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range a.servers {
		assert.NoError(a, s.Shutdown(ctx))
	}
}

// register registers the methods of the scenario on a dynpsrpc server, with the recorded topic.
func (p *play) register(s *dynamic.Server, handlers dynamic.Handlers) *dynamic.Registration {
	service, ok := p.registry.Service("scenario.Recorded")
	require.True(p, ok)
	registration, err := s.Register(service, handlers, dynamic.AllowMissing())
	require.NoError(p, err)
	if topic := p.scenario.Method.Topics; len(topic) > 0 && !p.scenario.Method.Subscription {
		require.NoError(p, registration.RegisterTopic(p.scenario.Method.Name, topic...))
	}
	return registration
}

func (a *serverActor) handler(id string) dynamic.Handler {
	m := a.scenario.Method
	scored := m.RequireClaim && m.Type == "AFFINITY"
	if m.Stream {
		options := a.script.streamOptions
		if scored {
			options = append(options, dynamic.WithStreamAffinity(func(context.Context) float32 { return a.affinity(id) }))
		}
		return dynamic.Stream(func(stream dynamic.ServerStream[proto.Message, proto.Message]) error {
			return a.handleStream(id, stream)
		}, options...)
	}
	var options []dynamic.HandlerOption
	if scored {
		options = append(options, dynamic.WithAffinity(func(context.Context, proto.Message) float32 { return a.affinity(id) }))
	}
	return dynamic.Unary(func(ctx context.Context, request proto.Message) (proto.Message, error) {
		return a.handle(ctx, id, bodyText(request))
	}, options...)
}

// affinity returns the affinity that the recorded server sent in its claim, or -1 if it sent no
// claim.
func (a *serverActor) affinity(id string) float32 {
	for _, r := range a.scenario.Frames {
		if f := r.frame(a); f.typeName() == typeClaimRequest && f.inner.text(claimServer) == id {
			return f.inner.float32(claimAffinity)
		}
	}
	return -1
}

// handle returns the recorded response of the server with the given ID.
func (a *serverActor) handle(ctx context.Context, id, request string) (proto.Message, error) {
	a.note("handler_ran", int(a.runs.Add(1)))
	a.noteIncoming(ctx)
	if a.script.handle != nil {
		a.script.handle(a.play, ctx)
	}
	answer, ok := a.answerTo(id, request)
	switch {
	case !ok:
		return nil, errors.NewErrorf(errors.Unimplemented, "nothing was recorded for %q", request)
	case a.script.err != nil:
		return nil, a.script.err
	case answer.inner.text(responseError) != "":
		var details []proto.Message
		for _, f := range answer.inner {
			if f.number == responseDetails {
				details = append(details, unpack(a, f.bytes))
			}
		}
		code := errors.ErrorCode(answer.inner.text(responseCode))
		return nil, errors.NewError(code, errors.New(answer.inner.text(responseError)), details...)
	case len(body(answer)) == 0:
		// The recorded handler also returned an empty response.
		return nil, nil //nolint:nilnil
	}
	return a.newBody(answer), nil
}

func unpack(t require.TestingT, encoded []byte) proto.Message {
	var packed anypb.Any
	require.NoError(t, proto.Unmarshal(encoded, &packed))
	detail, err := packed.UnmarshalNew()
	require.NoError(t, err)
	return detail
}

// answerTo returns the recorded response to a request with the given text. If the script sets
// anyServer, the response may come from any server. Otherwise, it must come from the server with
// the given ID.
func (a *serverActor) answerTo(id, request string) (answer frame, ok bool) {
	asked := ""
	for _, r := range a.scenario.Frames {
		f := r.frame(a)
		if f.typeName() == typeRequest && textOf(body(f)) == request {
			asked = f.inner.text(requestID)
		}
		if f.typeName() == typeResponse && f.inner.text(responseID) == asked &&
			(a.script.anyServer || f.inner.text(responseServer) == id) {
			return f, true
		}
	}
	return frame{}, false
}

func (a *serverActor) noteIncoming(ctx context.Context) {
	incoming, ok := dynamic.RequestInfoFromContext(ctx)
	assert.True(a, ok)
	var metadata any
	if incoming.Metadata != nil {
		pairs := map[string]any{}
		for key, value := range incoming.Metadata {
			pairs[key] = value
		}
		metadata = pairs
	}
	a.note("server_saw", map[string]any{"metadata": metadata, "remote_id": incoming.ClientID})
}

// handleStream keeps the stream open until it is closed, or until the script makes the handler
// return.
func (a *serverActor) handleStream(id string, stream dynamic.ServerStream[proto.Message, proto.Message]) error {
	defer func() { a.ended <- struct{}{} }()
	a.noteIncoming(stream.Context())
	served := servedStream{id, stream, make(chan error, 1)}
	a.started <- served
	select {
	case err := <-served.returns:
		return err
	case <-stream.Context().Done():
		a.note("server_stream_err", errorOutcome(stream.Err()))
		a.note("server_context_err", stream.Context().Err().Error())
		return nil
	}
}

// onStream calls act in the background, with the first stream that the given server accepts. An
// empty ID means any server. Calls for the same server run one after the other.
func (a *serverActor) onStream(id string, act func(servedStream)) {
	a.inOrder("server "+id, func() {
		s, ok := a.served(id)
		if !ok {
			a.Errorf("no stream was accepted by server %q", id)
			return
		}
		act(s)
	})
}

func (a *serverActor) served(id string) (s servedStream, ok bool) {
	a.lock.Lock()
	defer a.lock.Unlock()
	for {
		fits := func(s servedStream) bool { return id == "" || s.server == id }
		if i := slices.IndexFunc(a.streams, fits); i >= 0 {
			return a.streams[i], true
		}
		if s, ok = soon(a.started); !ok {
			return s, false
		}
		a.streams = append(a.streams, s)
	}
}

func (a *serverActor) provoke(r recorded, f frame) {
	switch {
	case f.isStream(streamMessage):
		id := ""
		for _, known := range a.scenario.serverIDs() {
			if strings.Contains(textOf(body(f)), known) {
				id = known
			}
		}
		a.onStream(id, func(s servedStream) { a.note("server_send", errorOutcome(s.stream.Send(a.newBody(f)))) })
	case f.isStream(streamClose):
		a.Fatalf("the script does not say why frame %d closes the stream", r.Seq)
	}
}
