package interceptors

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
)

// loggedService is a service that has one log for the server and one for the conn.
type loggedService struct {
	*testservice.Service

	server, client *capturedLog
	echoed         chan struct{} // receives a value whenever the server has sent a message back
}

// newLoggedService starts a service. Its handler fails if the text of the request is "fail", and
// panics if the text is "panic".
func newLoggedService(t testing.TB, inside []dynamic.ConnOption, opts ...LoggingOption) loggedService {
	t.Helper()
	w := loggedService{
		server: &capturedLog{least: slog.LevelDebug}, client: &capturedLog{least: slog.LevelDebug}, echoed: make(chan struct{}, 10),
	}
	w.Service = testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{Logging(slog.New(w.server), opts...)},
		Conn:   append([]dynamic.ConnOption{Logging(slog.New(w.client), opts...)}, inside...),
		Handle: func(ctx context.Context, request testservice.Text) (testservice.Text, error) {
			switch request.GetValue() {
			case "fail":
				return nil, errors.NewErrorf(errors.DataLoss, "the map is torn")
			case "panic":
				panic("secret")
			default:
				return testservice.Rain(ctx, request)
			}
		},
		Talk: func(stream testservice.Stream) error {
			for message := range stream.Channel() {
				if err := stream.Send(message); err != nil {
					return err
				}
				w.echoed <- struct{}{}
			}
			return nil
		},
	})
	return w
}

// requireLine checks the last line of a log. It does not compare the duration.
func requireLine(t testing.TB, log *capturedLog, want map[string]any) {
	t.Helper()
	all := log.all()
	require.NotEmpty(t, all)
	last := all[len(all)-1]
	assert.Greater(t, last["duration"], time.Duration(0))
	delete(last, "duration")
	assert.Equal(t, want, last)
}

// fields contains the attributes of a log line.
type fields = map[string]any

const rome = int64(len("Rome") + 2) // the encoded size of a message that contains this text

func TestLogging_Calls(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, nil)
	_, err := w.Call(t.Context(), testservice.Ask, "Rome")
	require.NoError(t, err)
	requireLine(t, w.server, fields{
		"msg": "call", "level": slog.LevelInfo, "side": "server", "method": testservice.Ask, "peer": "CLI_weather",
		"code": "ok", "request_size": rome, "response_size": rome + 8,
	})
	requireLine(t, w.client, fields{
		"msg": "call", "level": slog.LevelInfo, "side": "client", "method": testservice.Ask, "peer": "SRV_weather",
		"code": "ok", "request_size": rome, "response_size": rome + 8,
	})

	require.NoError(t, w.Registration.RegisterTopic("AskThere", "eu"))
	_, err = w.Call(t.Context(), testservice.AskThere, "fail", dynamic.WithTopic("eu"))
	require.Error(t, err)
	for side, log := range map[string]*capturedLog{"server": w.server, "client": w.client} {
		requireLine(t, log, fields{
			"msg": "call", "level": slog.LevelError, "side": side, "method": testservice.AskThere, "topic": []string{"eu"},
			"peer": map[string]string{"server": "CLI_weather", "client": "SRV_weather"}[side],
			"code": "data_loss", "error": "the map is torn", "request_size": rome,
		})
	}

	_, err = w.Call(t.Context(), testservice.AskThere, "Rome", dynamic.WithTopic("us"))
	requireLine(t, w.client, fields{
		"msg": "call", "level": slog.LevelWarn, "side": "client", "method": testservice.AskThere, "topic": []string{"us"},
		"code": "unavailable", "error": err.Error(), "request_size": rome,
	})
	assert.Len(t, w.server.all(), 2)
	assert.Len(t, w.client.all(), 3)
}

func TestLogging_Panics(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, []dynamic.ConnOption{dynamic.WithClientRPCInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
			return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
				if request.(testservice.Text).GetValue() == "client" {
					panic("of the client")
				}
				return next(ctx, request, opts...)
			}
		})})
	_, err := w.Call(t.Context(), testservice.Ask, "panic")
	requireCode(t, errors.Internal, err)
	requireLine(t, w.server, fields{
		"msg": "call", "level": slog.LevelError, "side": "server", "method": testservice.Ask, "peer": "CLI_weather",
		"code": "internal", "error": "panic", "request_size": rome + 1,
	})
	assert.PanicsWithValue(t, "of the client", func() { _, _ = w.Call(t.Context(), testservice.Ask, "client") })
	requireLine(t, w.client, fields{
		"msg": "call", "level": slog.LevelError, "side": "client", "method": testservice.Ask,
		"code": "internal", "error": "panic", "request_size": rome + 2,
	})
}

func TestLogging_Attempts(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	s := testservice.New(t, testservice.Config{Conn: []dynamic.ConnOption{
		// Logging is inside Retry, so it logs each attempt.
		Retry(WithBackoff(1, 1)), Logging(slog.New(log)),
	}})
	_, err := s.Call(t.Context(), testservice.AskThere, "Rome", dynamic.WithTopic("eu"))
	require.Error(t, err)
	require.Len(t, log.all(), 3)
	assert.NotContains(t, log.all()[0], "attempt")
	assert.Equal(t, int64(2), log.all()[1]["attempt"])
	assert.Equal(t, int64(3), log.all()[2]["attempt"])
}

// TestLogging_OutsideOfRetry checks that the log line of a call contains the ID of the server if
// the interceptor Retry is used too.
func TestLogging_OutsideOfRetry(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	s := testservice.New(t, testservice.Config{Conn: []dynamic.ConnOption{Logging(slog.New(log)), Logging(slog.New(log)), Retry()}})
	_, err := s.Call(t.Context(), testservice.Ask, "Rome")
	require.NoError(t, err)
	require.Len(t, log.all(), 2)
	assert.Equal(t, "SRV_weather", log.all()[0]["peer"])
	assert.Equal(t, "SRV_weather", log.all()[1]["peer"])
}

func TestLogging_MultiCalls(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, nil)
	_, err := w.CallAll(t.Context(), "Rome")
	require.NoError(t, err)
	requireLine(t, w.client, fields{
		"msg": "multi call", "level": slog.LevelInfo, "side": "client", "method": testservice.AskAll,
		"code": "ok", "request_size": rome, "responses": int64(1), "failures": int64(0),
	})
	requireLine(t, w.server, fields{
		"msg": "call", "level": slog.LevelInfo, "side": "server", "method": testservice.AskAll, "peer": "CLI_weather",
		"code": "ok", "request_size": rome, "response_size": rome + 8,
	})

	_, err = w.CallAll(t.Context(), "fail")
	requireCode(t, errors.DataLoss, err)
	require.Len(t, w.client.all(), 3)
	response := w.client.all()[1]
	delete(response, "duration")
	assert.Equal(t, fields{
		"msg": "response", "level": slog.LevelError, "side": "client", "method": testservice.AskAll, "peer": "SRV_weather",
		"code": "data_loss", "error": "the map is torn",
	}, response)
	requireLine(t, w.client, fields{
		"msg": "multi call", "level": slog.LevelInfo, "side": "client", "method": testservice.AskAll,
		"code": "ok", "request_size": rome, "responses": int64(0), "failures": int64(1),
	})

	require.NoError(t, w.Registration.Close(t.Context()))
	_, err = w.CallAll(t.Context(), "Rome")
	requireLine(t, w.client, fields{
		"msg": "multi call", "level": slog.LevelWarn, "side": "client", "method": testservice.AskAll,
		"code": "unavailable", "error": err.Error(), "request_size": rome, "responses": int64(0), "failures": int64(0),
	})

	require.NoError(t, w.Conn.Close())
	_, err = w.CallAll(t.Context(), "Rome")
	require.Error(t, err)
}

func TestLogging_MultiCallNotSent(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, []dynamic.ConnOption{dynamic.WithClientMultiRPCInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
			return multiStub{next, func(context.Context) error { return errors.NewErrorf(errors.Aborted, "no") }}
		})})
	_, err := w.CallAll(t.Context(), "Rome")
	requireCode(t, errors.Aborted, err)
	requireLine(t, w.client, fields{
		"msg": "multi call", "level": slog.LevelWarn, "side": "client", "method": testservice.AskAll,
		"code": "aborted", "error": "no", "request_size": rome, "responses": int64(0), "failures": int64(0),
	})
}

func TestLogging_Streams(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, nil)
	stream := must(w.Open(t.Context()))
	for range 3 {
		require.NoError(t, stream.Send(say("Rome")))
		<-stream.Channel()
		<-w.echoed
	}
	require.NoError(t, stream.Close(nil))
	want := fields{
		"msg": "stream", "level": slog.LevelInfo, "side": "client", "method": testservice.Talk, "code": "ok",
		"sent": int64(3), "sent_size": 3 * rome, "received": int64(3), "received_size": 3 * rome,
	}
	requireLine(t, w.client, want)
	require.NoError(t, w.Registration.Close(t.Context()))
	want["side"], want["peer"] = "server", "CLI_weather"
	requireLine(t, w.server, want)

	_, err := w.Open(t.Context())
	requireLine(t, w.client, fields{
		"msg": "stream", "level": slog.LevelWarn, "side": "client", "method": testservice.Talk, "code": "unavailable", "error": err.Error(),
		"sent": int64(0), "sent_size": int64(0), "received": int64(0), "received_size": int64(0),
	})
	assert.Len(t, w.client.all(), 2)
	assert.Len(t, w.server.all(), 1)
}

func TestLogging_FailedStream(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, nil)
	stream := must(w.Open(t.Context()))
	require.NoError(t, stream.Close(errors.NewErrorf(errors.Aborted, "enough")))
	require.NoError(t, w.Registration.Close(t.Context()))
	for side, log := range map[string]*capturedLog{"client": w.client, "server": w.server} {
		require.Len(t, log.all(), 1)
		assert.Equal(t, "aborted", log.all()[0]["code"], side)
		assert.Equal(t, "enough", log.all()[0]["error"], side)
	}
}

func TestLogging_Updates(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, nil)
	subscription, err := dynamic.InvokeSubscribe(t.Context(), w.Conn, testservice.Warning)
	require.NoError(t, err)
	require.NoError(t, w.Registration.Publish(t.Context(), "Warning", say("Rome")))
	<-subscription.Channel()
	require.NoError(t, subscription.Close()) // Close waits until the interceptors have returned
	want := fields{
		"msg": "publish", "level": slog.LevelDebug, "side": "server", "method": testservice.Warning, "code": "ok", "update_size": rome,
	}
	requireLine(t, w.server, want)
	want["msg"], want["side"] = "delivery", "client"
	requireLine(t, w.client, want)

	require.NoError(t, dynamic.Publish(t.Context(), w.Conn, testservice.Warning, say("Rome")))
	want["msg"] = "publish"
	requireLine(t, w.client, want)

	require.NoError(t, w.Bus.Close())
	err = dynamic.Publish(t.Context(), w.Conn, testservice.Warning, say("Rome"))
	require.ErrorIs(t, err, bus.ErrClosed)
	want["level"], want["code"], want["error"] = slog.LevelWarn, "unavailable", err.Error()
	requireLine(t, w.client, want)
}

func TestLogging_Levels(t *testing.T) {
	t.Parallel()
	loud, quiet := &capturedLog{}, &capturedLog{}
	level := func(at slog.Level) LoggingOption {
		return WithLevels(func(info dynamic.RPCInfo, code errors.ErrorCode) slog.Level {
			assert.Equal(t, "Ask", info.Method)
			assert.Equal(t, errors.OK, code)
			return at
		})
	}
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{Logging(slog.New(loud), level(slog.LevelError+1))},
		Conn:   []dynamic.ConnOption{Logging(slog.New(quiet), level(slog.LevelDebug))},
	})
	_, err := s.Call(t.Context(), testservice.Ask, "Rome")
	require.NoError(t, err)
	require.Len(t, loud.all(), 1)
	assert.Equal(t, slog.LevelError+1, loud.all()[0]["level"])
	assert.Empty(t, quiet.all())
}

func TestDefaultLevel(t *testing.T) {
	t.Parallel()
	for level, codes := range map[slog.Level][]errors.ErrorCode{
		slog.LevelInfo:  {errors.OK, errors.Canceled, errors.NotFound, errors.InvalidArgument},
		slog.LevelWarn:  {errors.Unavailable, errors.DeadlineExceeded, errors.ResourceExhausted},
		slog.LevelError: {errors.Internal, errors.Unknown, errors.DataLoss, errors.MalformedResponse, "my_code"},
	} {
		for _, code := range codes {
			assert.Equal(t, level, DefaultLevel(testservice.Info(testservice.Ask), code), code)
		}
	}
	assert.Equal(t, slog.LevelDebug, DefaultLevel(testservice.Info(testservice.Warning), errors.OK))
}

func TestLogging_Payloads(t *testing.T) {
	t.Parallel()
	w := newLoggedService(t, nil, WithPayloads())
	_, err := w.Call(t.Context(), testservice.Ask, "Rome")
	require.NoError(t, err)
	_, err = w.CallAll(t.Context(), "Rome")
	require.NoError(t, err)
	for _, log := range []*capturedLog{w.server, w.client} {
		assert.Equal(t, `"Rome"`, log.all()[0]["request"])
		assert.Equal(t, `"rain in Rome"`, log.all()[0]["response"])
		assert.Equal(t, `"rain in Rome"`, log.all()[1]["response"])
	}

	stream := must(w.Open(t.Context()))
	require.NoError(t, stream.Send(say("Oslo")))
	<-stream.Channel()
	<-w.echoed
	require.NoError(t, stream.Close(nil))
	require.NoError(t, w.Registration.Close(t.Context()))
	for side, log := range map[string]*capturedLog{"client": w.client, "server": w.server} {
		var messages []fields
		for _, line := range log.all() {
			if line["msg"] == "message" {
				messages = append(messages, line)
			}
		}
		require.Len(t, messages, 2, side)
		for _, line := range messages {
			assert.True(t, line["sent"] == `"Oslo"` || line["received"] == `"Oslo"`, line)
			assert.True(t, line["sent_size"] == rome || line["received_size"] == rome, line)
		}
	}

	require.NoError(t, dynamic.Publish(t.Context(), w.Conn, testservice.Warning, say("storm")))
	last := w.client.all()[len(w.client.all())-1]
	assert.Equal(t, `"storm"`, last["update"])
}
