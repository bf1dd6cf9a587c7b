package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A call with a nil conn or a nil context must return an error that contains the name of the
// method.
func TestInvoke_NilConnOrContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for want, arguments := range map[string]struct {
		ctx  context.Context
		conn *dynamic.Conn
	}{
		"the conn is nil": {t.Context(), nil}, "the context is nil": {nil, w.conn},
	} {
		ctx, conn := arguments.ctx, arguments.conn
		_, call := dynamic.Invoke(ctx, conn, echo, nil)
		_, multi := dynamic.InvokeMulti(ctx, conn, echo, nil)
		_, subscribe := dynamic.InvokeSubscribe(ctx, conn, echo)
		_, stream := dynamic.InvokeStream(ctx, conn, echo)
		for _, err := range []error{call, multi, subscribe, stream} {
			requireCode(t, errors.InvalidArgument, err)
			require.EqualError(t, err, "method "+echo+": "+want)
		}
	}
	require.EqualError(t, dynamic.Publish(t.Context(), nil, echo, nil), "method "+echo+": the conn is nil")
	_, err := dynamic.NewClient[text, text](nil, echo)
	require.EqualError(t, err, "method "+echo+": the conn is nil")
}
