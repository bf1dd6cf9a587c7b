package dynamic_test

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// panicking is a message that passes the server's checks, but panics when it is encoded.
type panicking struct {
	*wrapperspb.StringValue

	asked *atomic.Int64
}

func (p panicking) ProtoReflect() protoreflect.Message {
	if p.asked.Add(1) > 2 {
		panic("secret")
	}
	return p.StringValue.ProtoReflect()
}

// panickingError is an error whose method Error panics.
type panickingError struct{}

func (panickingError) Error() string { panic("secret") }

func TestHandlers_Panics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		handle func(context.Context, text) (anyMsg, error)
		logged string // the value of the panic as text
	}{
		{"value", func(context.Context, text) (anyMsg, error) { panic("secret") }, "secret"},
		{"error", func(context.Context, text) (anyMsg, error) { panic(errors.New("secret")) }, "secret"},
		{"coded error", func(context.Context, text) (anyMsg, error) {
			panic(errors.NewErrorf(errors.NotFound, "secret"))
		}, "secret"},
		{"nil", func(context.Context, text) (anyMsg, error) { panic(nil) }, "panic called with nil argument"},
		{"nil dereference", func(context.Context, text) (anyMsg, error) {
			var response text
			response.Value = "secret"
			return response, nil
		}, "nil pointer dereference"},
		{"out of range", func(_ context.Context, request text) (anyMsg, error) {
			return wrapperspb.String(request.GetValue()[100:]), nil
		}, "out of range"},
		{"end of the goroutine", func(context.Context, text) (anyMsg, error) {
			runtime.Goexit()
			panic("unreachable")
		}, "<nil>"},
		{"marshalling", func(_ context.Context, request text) (anyMsg, error) {
			return panicking{request, new(atomic.Int64)}, nil
		}, "secret"},
		{"text of the error", func(context.Context, text) (anyMsg, error) { return nil, panickingError{} }, "secret"},
		{"in a deferred function", func(context.Context, text) (anyMsg, error) {
			defer func() { panic("secret") }()
			panic("first")
		}, "secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := &capturedLog{}
			w := newWorldOn(t, bus.NewLocal(), dynamic.WithLogger(slog.New(log)))
			w.serve(t, dynamic.Handlers{
				"Echo":   dynamic.Unary(tt.handle),
				"Best":   dynamic.Unary(tt.handle),
				"Direct": identity[text](),
			})
			const times = 3
			for range times {
				for _, name := range []string{echo, best} {
					_, err := w.call(t, name, "hi", dynamic.WithRequestTimeout(time.Hour))
					coded := requireCode(t, errors.Internal, err)
					assert.Equal(t, "the handler of "+name+" panicked", coded.Error())
					assert.Empty(t, coded.Details())
				}
			}
			records := log.errors()
			require.Len(t, records, 2*times)
			for _, record := range records {
				assert.Equal(t, slog.LevelError, record["level"])
				assert.Contains(t, []any{echo, best}, record["method"])
				assert.Contains(t, slog.AnyValue(record["panic"]).String(), tt.logged)
				assert.Contains(t, record["stack"], "goroutine ")
			}
			response, err := w.call(t, direct, "hi")
			require.NoError(t, err)
			assert.Equal(t, "hi", response)
		})
	}
}

func TestHandlers_RawPanics(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newWorldOn(t, bus.NewLocal(), dynamic.WithLogger(slog.New(log)))
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) { panic("secret") }),
	})
	_, err := w.call(t, echo, "hi")
	assert.NotContains(t, requireCode(t, errors.Internal, err).Error(), "secret")
	assert.Contains(t, log.all()[0]["stack"], "TestHandlers_RawPanics", "the place of the panic")
}

// TestHandlers_PanicWhileShuttingDown checks that Shutdown does not wait any longer for a handler
// that has panicked.
func TestHandlers_PanicWhileShuttingDown(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, bus.NewLocal(), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	b := newBlocker()
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
		b.handle(ctx, request)
		runtime.Goexit()
		panic("unreachable")
	})})
	client, done := textClient(t, w.conn, echo), make(chan error, 2)
	go func() { // this goroutine ends with the call
		_, err := client.Call(context.Background(), nil)
		done <- err
	}()
	requireSoon(t, b.started, "handler")
	// This goroutine ends when Shutdown returns.
	go func() { done <- w.server.Shutdown(context.Background()) }()
	close(b.release)
	for range 2 {
		if err := requireSoon(t, done, "call and shutdown"); err != nil {
			requireCode(t, errors.Internal, err)
		}
	}
}
