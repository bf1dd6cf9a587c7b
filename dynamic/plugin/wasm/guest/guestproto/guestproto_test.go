package guestproto

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

type text = *wrapperspb.StringValue

func TestHandle_MessagesAndErrors(t *testing.T) {
	t.Parallel()
	handler := newHandler(func(_ context.Context, request text) (text, error) {
		switch request.GetValue() {
		case "":
			return nil, nil //nolint:nilnil // nil is an empty response
		case "fail":
			return nil, guest.Errorf(guest.NotFound, "gone")
		case "bad":
			return wrapperspb.String("\xff"), nil
		}
		return wrapperspb.String("Hello, " + request.GetValue()), nil
	})
	call := func(request text) ([]byte, error) {
		encoded, err := proto.Marshal(request)
		require.NoError(t, err)
		return handler(t.Context(), encoded)
	}

	response, err := call(wrapperspb.String("Ada"))
	require.NoError(t, err)
	var decoded wrapperspb.StringValue
	require.NoError(t, proto.Unmarshal(response, &decoded))
	assert.Equal(t, "Hello, Ada", decoded.GetValue())

	response, err = call(wrapperspb.String(""))
	require.NoError(t, err)
	assert.Empty(t, response)

	_, err = call(wrapperspb.String("fail"))
	requireCode(t, guest.NotFound, err)
	_, err = call(wrapperspb.String("bad"))
	requireCode(t, guest.MalformedResponse, err)
	_, err = handler(t.Context(), []byte{0xff})
	requireCode(t, guest.MalformedRequest, err)
}

func TestDetail_IsAnAny(t *testing.T) {
	t.Parallel()
	detail, err := Detail(wrapperspb.String("x"))
	require.NoError(t, err)
	assert.Equal(t, guest.Detail{TypeURL: "type.googleapis.com/google.protobuf.StringValue", Value: []byte("\n\x01x")}, detail)
	_, err = Detail(wrapperspb.String("\xff"))
	assert.Error(t, err)
}

func requireCode(t *testing.T, code guest.Code, err error) {
	t.Helper()
	coded, ok := errors.AsType[*guest.Error](err)
	require.True(t, ok, err)
	assert.Equal(t, code, coded.Code)
}
