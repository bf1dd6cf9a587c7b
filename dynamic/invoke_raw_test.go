package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// noncanonical is an encoding of the text "hi" that no encoder produces. Field 1 occurs twice, so
// the last value counts.
var noncanonical = []byte("\x0a\x01x\x0a\x02hi")

func TestInvokeRaw_PassesBytesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Raw(rawIdentity)})
	response, err := dynamic.InvokeRaw(t.Context(), w.conn, echo, noncanonical)
	require.NoError(t, err)
	assert.Equal(t, noncanonical, response)
}

// Interceptors must receive decoded messages, even if the caller passes encoded ones.
func TestInvokeRaw_DecodesForInterceptors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Raw(rawIdentity)})
	var seen []string
	intercept := func(_ dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
		return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
			response, err := next(ctx, request, opts...)
			seen = append(seen, request.(text).GetValue(), response.(text).GetValue())
			return response, err
		}
	}
	response, err := dynamic.InvokeRaw(t.Context(), w.conn, echo, noncanonical, dynamic.WithRequestInterceptors(intercept))
	require.NoError(t, err)
	assert.Equal(t, []string{"hi", "hi"}, seen)
	assert.Equal(t, []byte("\x0a\x02hi"), response)
	_, err = dynamic.InvokeRaw(t.Context(), w.conn, echo, []byte{0xff}, dynamic.WithRequestInterceptors(intercept))
	require.ErrorContains(t, err, "request of test.Echoes/Echo: message google.protobuf.StringValue cannot be decoded")
	requireCode(t, errors.InvalidArgument, err)
}

func TestInvokeRaw_Refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	_, err := dynamic.InvokeRaw(t.Context(), w.conn, "test.Kinds/All", nil)
	require.ErrorContains(t, err, "method test.Kinds/All is a multi call, not a single call")
	_, err = dynamic.InvokeRaw(t.Context(), w.conn, "test.Echoes/Missing", nil)
	requireCode(t, errors.Unimplemented, err)
	_, err = dynamic.InvokeRaw(t.Context(), w.conn, echo, []byte{0xff})
	requireCode(t, errors.MalformedRequest, err)
}
