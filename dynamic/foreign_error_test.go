package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

type foreignCode string

// foreignError resembles an error of another library with the same wire format. Its Code method
// returns a type of that library.
type foreignError struct{ details []*anypb.Any }

func (foreignError) Error() string                { return "no answer" }
func (foreignError) Code() foreignCode            { return "malformed_request" }
func (e foreignError) DetailsProto() []*anypb.Any { return e.details }

func TestForeignError_KeepsItsCodeAndDetails(t *testing.T) {
	t.Parallel()
	detail, err := anypb.New(wrapperspb.String("d"))
	require.NoError(t, err)
	w := newWorld(t)
	failure := foreignError{[]*anypb.Any{detail}}
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(context.Context, text) (text, error) { return nil, failure })})
	_, err = w.server.Register(descriptor(t, w.registry, "test.Kinds"), dynamic.Handlers{
		"Flow": dynamic.Stream(func(dynamic.ServerStream[proto.Message, proto.Message]) error { return failure }),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	check := func(err error) {
		t.Helper()
		coded := requireCode(t, errors.MalformedRequest, err)
		assert.True(t, errors.Is(err, errors.MalformedRequest))
		assert.Equal(t, "no answer", coded.Error())
		require.Len(t, coded.DetailsProto(), 1)
		assert.True(t, proto.Equal(detail, coded.DetailsProto()[0]))
	}
	_, err = w.call(t, echo, "hi")
	check(err)
	stream, err := dynamic.InvokeStream(t.Context(), w.conn, "test.Kinds/Flow")
	require.NoError(t, err)
	<-stream.Context().Done()
	check(stream.Err())
}
