package dynamic_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// recorder is a dynamic.ServerRecorder that sends a description of each notification on a channel.
type recorder chan string

func newRecorder(t testing.TB, server *dynamic.Server) recorder {
	t.Helper()
	r := make(recorder, 1000)
	stop, err := server.Record(r)
	require.NoError(t, err)
	t.Cleanup(stop)
	return r
}

func (r recorder) MethodRecorder(method *registry.Method) dynamic.MethodRecorder {
	return methodRecorder{r, method.Name()}
}

func (r recorder) RecordChange(change dynamic.ServerChange) {
	name := "the server"
	if change.Service != nil {
		name = string(change.Service.Name())
	}
	r <- fmt.Sprint(name, " ", map[dynamic.ServerChangeKind]string{
		dynamic.ServiceAdded: "added", dynamic.ServiceReplaced: "replaced", dynamic.ServiceRemoved: "removed",
		dynamic.ServerDraining: "draining", dynamic.ServerResumed: "resumed", dynamic.ServerClosing: "closing",
		dynamic.ServerStopped: "stopped",
	}[change.Kind])
}

// expect checks that the recorder has received exactly these notifications, in this order.
func (r recorder) expect(t testing.TB, events ...string) {
	t.Helper()
	for _, event := range events {
		require.Equal(t, event, requireSoon(t, r, event))
	}
	require.Empty(t, r)
}

type methodRecorder struct {
	recorder

	method string
}

func (r methodRecorder) add(event string) { r.recorder <- r.method + " " + event }

func (r methodRecorder) RecordStart() { r.add("starts") }

func (r methodRecorder) RecordEnd(end dynamic.CallEnd) {
	event := "ends"
	if end.Code != "" {
		event += " with " + string(end.Code)
	}
	if end.Unprocessed {
		event += ", unprocessed"
	}
	if end.Duration < 0 || end.Duration > time.Minute || time.Since(end.Time).Abs() > time.Minute {
		event += fmt.Sprintf(", after %v at %v", end.Duration, end.Time)
	}
	r.add(event)
}

func (r methodRecorder) RecordClaim(affinity float32) { r.add(fmt.Sprint("claims ", affinity)) }
func (r methodRecorder) RecordExpired()               { r.add("expires") }
func (r methodRecorder) RecordPanic()                 { r.add("panics") }
func (r methodRecorder) RecordUpdate()                { r.add("updates") }

// TestServer_Record_Calls checks what is recorded for single and multi calls. The service was
// registered before the recorder was added.
func TestServer_Record_Calls(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{handlers: dynamic.Handlers{
		"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			switch request.GetValue() {
			case "fail":
				return nil, errors.NewErrorf(errors.NotFound, "no such thing")
			case "full":
				return nil, dynamic.Unprocessed(errors.NewErrorf(errors.ResourceExhausted, "full"))
			case "panic":
				panic("oh")
			}
			return request, nil
		}),
	}})
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	r := newRecorder(t, w.server)
	for request, events := range map[string][]string{
		"hi":    {"Echo starts", "Echo ends"},
		"fail":  {"Echo starts", "Echo ends with not_found"},
		"full":  {"Echo starts", "Echo ends with resource_exhausted, unprocessed"},
		"panic": {"Echo starts", "Echo panics", "Echo ends with internal"},
	} {
		_, err := w.call(t, seenEcho, request)
		assert.Equal(t, request == "hi", err == nil, err)
		r.expect(t, events...)
	}
	_, err := w.call(t, seenRegion, "hi", dynamic.WithTopic("eu"))
	require.NoError(t, err)
	r.expect(t, "Region starts", "Region ends")
	for response := range textClient(t, w.conn, seenAll).Responses(t.Context(), say("hi")) {
		require.NoError(t, response.Err)
	}
	r.expect(t, "All starts", "All ends")
	require.NoError(t, w.service.Publish(t.Context(), "Feed", say("news")))
	r.expect(t, "Feed updates")
	require.Error(t, w.service.Publish(t.Context(), "Feed", otherMessage))
	r.expect(t)
}

// TestServer_Record_Claims checks what is recorded if the client selects a server.
func TestServer_Record_Claims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Best": dynamic.Unary(echoHandler,
		dynamic.WithAffinity(func(_ context.Context, request text) float32 {
			if request.GetValue() == "panic" {
				panic("oh")
			}
			return map[string]float32{"mine": 0.5}[request.GetValue()] - 0.25
		}))})
	r := newRecorder(t, w.server)
	_, err := w.call(t, best, "mine")
	require.NoError(t, err)
	r.expect(t, "Best claims 0.25", "Best starts", "Best ends")
	_, err = w.call(t, best, "not mine")
	require.Error(t, err)
	r.expect(t, "Best claims -0.25")
	_, err = w.call(t, best, "panic")
	require.Error(t, err)
	r.expect(t, "Best panics", "Best claims -1")
}

// TestServer_Record_NotRun checks what is recorded for requests for which no handler runs.
func TestServer_Record_NotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := newBlocker()
	w.serve(t, dynamic.Handlers{"Direct": dynamic.Unary(b.handle, dynamic.WithMaxConcurrent(1))})
	r := newRecorder(t, w.server)
	p := peer{t, w.bus}
	p.send(requestChannel("Direct"), newRequest("REQ_first0000000", "hi"))
	requireSoon(t, b.started, "handler")
	r.expect(t, "Direct starts")
	_, err := w.call(t, direct, "hi")
	requireCode(t, errors.ResourceExhausted, err)
	r.expect(t, "Direct starts", "Direct ends with resource_exhausted, unprocessed")
	close(b.release)
	r.expect(t, "Direct ends")

	malformed := newRequest("REQ_malformed000", "")
	malformed.Body = wire.Body{Raw: []byte{0xff}}
	p.send(requestChannel("Direct"), malformed)
	r.expect(t, "Direct starts", "Direct ends with malformed_request, unprocessed")

	late := newRequest("REQ_late00000000", "hi")
	late.SentAt, late.Expiry = time.Now().Add(-4*time.Minute).UnixNano(), time.Now().Add(-3*time.Minute).UnixNano()
	p.send(requestChannel("Direct"), late)
	r.expect(t, "Direct expires")

	_, err = dynamic.Invoke(t.Context(), w.conn, repeat, map[string]any{})
	requireCode(t, errors.Unimplemented, err)
	r.expect(t, "Repeat starts", "Repeat ends with unimplemented, unprocessed")
}

// TestServer_Record_Streams checks what is recorded for streams.
func TestServer_Record_Streams(t *testing.T) {
	t.Parallel()
	var hijacked serverText
	arrived := make(chan struct{})
	w := newFlowWorld(t, bus.NewLocal(), func(s serverText) error {
		switch message := <-s.Channel(); message.GetValue() {
		case "fail":
			return errors.NewErrorf(errors.Aborted, "enough")
		case "panic":
			panic("oh")
		case "hijack":
			hijacked = s
			s.Hijack()
			close(arrived)
		}
		return nil
	}, dynamic.WithMaxStreams(1), dynamic.WithLogger(discard))
	r := newRecorder(t, w.server)
	send := func(message string) clientText {
		s := w.open(t, directFlow)
		require.NoError(t, s.Send(say(message)))
		return s
	}
	for message, events := range map[string][]string{
		"end":   {"Direct starts", "Direct ends"},
		"fail":  {"Direct starts", "Direct ends with aborted"},
		"panic": {"Direct starts", "Direct panics", "Direct ends with internal"},
	} {
		send(message)
		r.expect(t, events...)
	}
	s := send("hijack")
	requireSoon(t, arrived, "hijack")
	r.expect(t, "Direct starts")
	_, err := w.tryOpen(t, t.Context(), directFlow)
	requireCode(t, errors.ResourceExhausted, err)
	r.expect(t, "Direct starts", "Direct ends with resource_exhausted, unprocessed")
	require.NoError(t, hijacked.Close(errors.NewErrorf(errors.DataLoss, "oh")))
	r.expect(t, "Direct ends with data_loss")
	_ = s.Close(nil)
}

// TestServer_Record_Changes checks that changes of services and of the server are recorded, and
// that calls are still recorded after a service has been replaced.
func TestServer_Record_Changes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRecorder(t, w.server)
	_, err := w.server.Record(r)
	requireCode(t, errors.AlreadyExists, err)
	_, err = w.server.Record(nil)
	requireCode(t, errors.InvalidArgument, err)

	service := w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)})
	r.expect(t, "test.Echoes added")
	next, err := service.Replace(descriptor(t, w.registry, "test.Echoes"),
		dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)}, dynamic.AllowMissing())
	require.NoError(t, err)
	r.expect(t, "test.Echoes replaced")
	_, err = w.call(t, echo, "hi")
	require.NoError(t, err)
	r.expect(t, "Echo starts", "Echo ends")
	require.NoError(t, service.Close(t.Context()))
	r.expect(t)
	require.NoError(t, next.Close(t.Context()))
	r.expect(t, "test.Echoes removed")

	w.serve(t, dynamic.Handlers{})
	r.expect(t, "test.Echoes added")
	_, err = w.server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{}, dynamic.AllowMissing())
	requireCode(t, errors.AlreadyExists, err)
	r.expect(t)
	require.NoError(t, w.server.Resume())
	r.expect(t)
	require.NoError(t, w.server.Drain(t.Context()))
	require.NoError(t, w.server.Drain(t.Context()))
	require.NoError(t, w.server.Resume())
	r.expect(t, "the server draining", "the server resumed")
	require.NoError(t, w.server.Shutdown(t.Context()))
	require.NoError(t, w.server.Shutdown(t.Context()))
	w.server.Kill()
	r.expect(t, "the server closing", "test.Echoes removed", "the server stopped")
}

// TestServer_Record_Stop checks that only the ends of calls that are already running are recorded
// after stop, and that another recorder can then be added.
func TestServer_Record_Stop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := newBlocker()
	w.serve(t, dynamic.Handlers{"Direct": dynamic.Unary(b.handle), "Echo": dynamic.Unary(echoHandler)})
	r := make(recorder, 100)
	stop, err := w.server.Record(r)
	require.NoError(t, err)
	peer{t, w.bus}.send(requestChannel("Direct"), newRequest(peerRequest, "hi"))
	requireSoon(t, b.started, "handler")
	stop()
	_, err = w.call(t, echo, "hi")
	require.NoError(t, err)
	r.expect(t, "Direct starts")
	second := newRecorder(t, w.server)
	stop()
	close(b.release)
	r.expect(t, "Direct ends")
	_, err = w.call(t, echo, "hi")
	require.NoError(t, err)
	second.expect(t, "Echo starts", "Echo ends")
	require.Empty(t, r)
}

func TestServer_Registrations(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{})
	echoes := w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(echoHandler, dynamic.WithMaxConcurrent(7)), "Direct": dynamic.Unary(echoHandler),
	})
	assert.Equal(t, []*dynamic.Registration{w.service, echoes}, w.server.Registrations())
	for _, method := range echoes.Methods() {
		assert.Equal(t, method.Name() != "Echo" && method.Name() != "Direct", method.Unimplemented, method.Name())
		assert.Equal(t, map[string]int{"Echo": 7}[method.Name()], method.MaxConcurrent)
	}
	methods := w.service.Methods()
	require.Len(t, methods, 5)
	assert.False(t, methods[4].Unimplemented, "a subscription has no handler")

	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	require.NoError(t, w.service.RegisterTopic("Region", "us"))
	var topics []string
	for method, topic := range w.service.Topics() {
		topics = append(topics, method.Name()+" "+topic[0])
	}
	assert.ElementsMatch(t, []string{"Region eu", "Region us"}, topics)
	require.NoError(t, w.service.DeregisterTopic("Region", "us"))
	for _, topic := range w.service.Topics() {
		assert.Equal(t, []string{"eu"}, topic)
	}
	for range echoes.Topics() {
		t.Error("the service has no topics")
	}
}

// TestRequestInfo_Topic checks that a handler can find out the topic of its request.
func TestRequestInfo_Topic(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{handlers: dynamic.Handlers{
		"Region": dynamic.Unary(func(ctx context.Context, _ text) (text, error) {
			info, _ := dynamic.RequestInfoFromContext(ctx)
			return say(fmt.Sprint(info.Topic)), nil
		}),
	}})
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	response, err := w.call(t, seenRegion, "hi", dynamic.WithTopic("eu"))
	require.NoError(t, err)
	assert.Equal(t, "[eu]", response)
}
