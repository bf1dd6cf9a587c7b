package dynamic_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// TestHandlers_Errors checks which code, text and details the caller receives for an error that a
// handler returns.
func TestHandlers_Errors(t *testing.T) {
	t.Parallel()
	detail := wrapperspb.String("detail")
	fromGRPC, err := status.New(codes.PermissionDenied, "keep out").WithDetails(detail)
	require.NoError(t, err)
	coded := errors.NewError(errors.NotFound, errors.New("no such room"), detail, wrapperspb.Int64(7))
	for _, tt := range []struct {
		name    string
		err     error
		code    errors.ErrorCode
		text    string
		details []proto.Message
	}{
		{"coded", coded, errors.NotFound, "no such room", []proto.Message{detail, wrapperspb.Int64(7)}},
		{"coded, wrapped", fmt.Errorf("outer: %w", coded), errors.NotFound, "no such room", []proto.Message{detail, wrapperspb.Int64(7)}},
		{"own code", errors.NewErrorf("own", "mine"), "own", "mine", nil},
		{"no code", errors.NewErrorf(errors.OK, "what"), errors.Unknown, "what", nil},
		{"gRPC status", fromGRPC.Err(), errors.PermissionDenied, "keep out", []proto.Message{detail}},
		{
			"gRPC status, wrapped", fmt.Errorf("outer: %w", fromGRPC.Err()), errors.PermissionDenied,
			"outer: rpc error: code = PermissionDenied desc = keep out", []proto.Message{detail},
		},
		{"plain", errors.New("plain"), errors.Unknown, "plain", nil},
		{"not UTF-8", errors.New("a\xffb"), errors.Unknown, "a\uFFFDb", nil},
		{"plain, empty", errors.New(""), errors.Unknown, "unknown", nil},
		{"context canceled", context.Canceled, errors.Unknown, "context canceled", nil},
		{"context deadline", context.DeadlineExceeded, errors.Unknown, "context deadline exceeded", nil},
		{"EOF", io.EOF, errors.Unknown, "EOF", nil},
		{"predefined", errors.ErrRequestCanceled, errors.Canceled, "request canceled", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(t, dynamic.Handlers{
				"Echo":   dynamic.Unary(func(context.Context, text) (text, error) { return nil, tt.err }),
				"Direct": dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) { return nil, tt.err }),
				"Best":   dynamic.Unary(func(context.Context, dyn) (anyMsg, error) { return nil, tt.err }),
			})
			for _, name := range []string{echo, direct, best} {
				_, err := w.call(t, name, "hi")
				got := requireCode(t, tt.code, err)
				assert.Equal(t, tt.text, got.Error())
				requireDetails(t, tt.details, got)
				_, hasFacts := errors.FactsOf(err)
				assert.False(t, hasFacts, "it is the server's error")
			}
			_, err := dynamic.Invoke(t.Context(), w.conn, echo, wrapperspb.String("hi"))
			assert.Equal(t, tt.text, requireCode(t, tt.code, err).Error())
		})
	}
}

func requireDetails(t testing.TB, want []proto.Message, err errors.Error) {
	t.Helper()
	got := err.Details()
	require.Len(t, got, len(want))
	for i, detail := range want {
		assert.True(t, proto.Equal(detail, got[i].(proto.Message)), "detail %d: %v", i, got[i])
	}
}

func TestHandlers_PredefinedErrorsAreFoundAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(context.Context, text) (text, error) { return nil, errors.ErrStreamEOF }),
	})
	_, err := w.call(t, echo, "hi")
	assert.ErrorIs(t, err, errors.ErrStreamEOF)
}

// TestHandlers_ErrorOfNestedCall checks an error of a call that the handler itself made. The facts
// about that call appear only in the error's text, because they do not describe the caller's own
// call.
func TestHandlers_ErrorOfNestedCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reg := newRegistry(t, soloSource)
	conn, err := dynamic.NewConn(w.bus, reg, patientConn)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	nested := textClient(t, conn, "solo.Solo/Nobody")
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(ctx context.Context, _ text) (text, error) {
			response, err := nested.Call(ctx, nil)
			return response, fmt.Errorf("nested: %w", err)
		}),
	})
	_, err = w.call(t, echo, "hi")
	coded := requireCode(t, errors.Unavailable, err)
	assert.Contains(t, coded.Error(), "no response from servers (solo.Solo/Nobody: nobody listening")
	assert.NotContains(t, coded.Error(), "nested: ", "psrpc loses it too")
	_, hasFacts := errors.FactsOf(err)
	assert.False(t, hasFacts)
}

// soloSource declares a service that no server registers.
const soloSource = `
syntax = "proto3";
package solo;
import "google/protobuf/wrappers.proto";
service Solo { rpc Nobody(google.protobuf.StringValue) returns (google.protobuf.StringValue); }
`
