package errors_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func pack(t *testing.T, message proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(message)
	require.NoError(t, err)
	return packed
}

func TestNewError_WrapsItsCause(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("while reading: %w", io.EOF)
	err := errors.NewError(errors.DataLoss, cause)
	require.EqualError(t, err, "while reading: EOF")
	assert.Equal(t, errors.DataLoss, err.Code())
	assert.Same(t, cause, err.Unwrap())
	assert.True(t, errors.Is(err, io.EOF))
	assert.Empty(t, err.Details())
	assert.Empty(t, err.DetailsProto())

	found, ok := errors.AsType[errors.Error](fmt.Errorf("outer: %w", err))
	require.True(t, ok)
	assert.Same(t, err, found)
}

func TestNewError_NilCause(t *testing.T) {
	t.Parallel()
	err := errors.NewError(errors.NotFound, nil)
	require.EqualError(t, err, "not_found")
	require.NoError(t, err.Unwrap())
}

func TestNewErrorf_WrapsWithVerb(t *testing.T) {
	t.Parallel()
	err := errors.NewErrorf(errors.Internal, "part %d: %w and %w", 3, io.EOF, io.ErrClosedPipe)
	require.EqualError(t, err, "part 3: EOF and io: read/write on closed pipe")
	assert.Equal(t, errors.Internal, err.Code())
	assert.True(t, errors.Is(err, io.EOF))
	assert.True(t, errors.Is(err, io.ErrClosedPipe))
}

func TestError_DetailsDecode(t *testing.T) {
	t.Parallel()
	unlinked := &anypb.Any{TypeUrl: "type.googleapis.com/not.Linked", Value: []byte{1}}
	damaged := &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.Duration", Value: []byte{0xff}}
	err := errors.NewError(errors.Internal, io.EOF, wrapperspb.String("d1"), unlinked, damaged, durationpb.New(time.Second))

	details := err.Details()
	require.Len(t, details, 4)
	text, ok := details[0].(*wrapperspb.StringValue)
	require.True(t, ok)
	assert.Equal(t, "d1", text.GetValue())
	assert.Same(t, unlinked, details[1])
	assert.Same(t, damaged, details[2])
	duration, ok := details[3].(*durationpb.Duration)
	require.True(t, ok)
	assert.Equal(t, time.Second, duration.AsDuration())
}

func TestNewError_LeavesOutDetailsThatCannotBeMarshaled(t *testing.T) {
	t.Parallel()
	var noAny *anypb.Any
	err := errors.NewError(errors.Internal, io.EOF, nil, wrapperspb.String("\xff"), wrapperspb.String("good"))
	require.Len(t, err.DetailsProto(), 1)
	assert.NotContains(t, errors.NewError(errors.Internal, io.EOF, noAny).DetailsProto(), noAny)
}

func TestError_ToGrpc(t *testing.T) {
	t.Parallel()
	detail := pack(t, wrapperspb.String("d1"))
	err := errors.NewError(errors.UpstreamClientError, errors.New("text"), detail)
	for name, got := range map[string]*status.Status{
		"GRPCStatus": err.GRPCStatus(),
		"ToGrpc":     status.Convert(err.ToGrpc()),
		"itself":     status.Convert(err),
	} {
		assert.Equal(t, codes.InvalidArgument, got.Code(), name)
		assert.Equal(t, "text", got.Message(), name)
		require.Len(t, got.Proto().GetDetails(), 1, name)
		assert.True(t, proto.Equal(detail, got.Proto().GetDetails()[0]), name)
	}
	require.EqualError(t, err.ToGrpc(), "rpc error: code = InvalidArgument desc = text")
}

func TestError_AsTwirp(t *testing.T) {
	t.Parallel()
	err := errors.NewError(errors.MalformedRequest, io.EOF)
	for name, err := range map[string]error{
		"itself":     err,
		"wrapped":    fmt.Errorf("outer: %w", err),
		"with facts": errors.WithFacts(err, errors.CallFacts{}),
	} {
		var twirpError twirp.Error
		require.True(t, errors.As(err, &twirpError), name)
		assert.Equal(t, twirp.Malformed, twirpError.Code(), name)
		assert.Equal(t, "EOF", twirpError.Msg(), name)
		assert.True(t, errors.Is(twirpError, io.EOF), name)
	}
	own := errors.NewErrorf("my_own_code", "text")
	twirpError, ok := errors.AsType[twirp.Error](own)
	require.True(t, ok)
	assert.Equal(t, twirp.Unknown, twirpError.Code())
	assert.Equal(t, "text", twirpError.Msg())

	_, ok = errors.AsType[*codeless](own)
	assert.False(t, ok)
}
