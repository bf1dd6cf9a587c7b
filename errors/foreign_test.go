package errors_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestIs_FindsTheCode(t *testing.T) {
	t.Parallel()
	notFound := errors.NewErrorf(errors.NotFound, "no room")
	for label, err := range map[string]error{
		"new":          notFound,
		"wrapped":      fmt.Errorf("outer: %w", notFound),
		"joined":       errors.Join(io.EOF, notFound),
		"from a peer":  errors.FromWire(errors.NotFound, "no room", nil),
		"from a close": errors.FromStreamClose(errors.NotFound, "no room"),
		"with facts":   errors.WithFacts(notFound, errors.CallFacts{Method: "a.S/Do"}),
	} {
		assert.True(t, errors.Is(err, errors.NotFound), label)
		assert.False(t, errors.Is(err, errors.Internal), label)
		assert.False(t, errors.Is(err, errors.OK), label)
		var code errors.ErrorCode
		require.True(t, errors.As(err, &code), label)
		assert.Equal(t, errors.NotFound, code, label)
		code, ok := errors.AsType[errors.ErrorCode](err)
		assert.True(t, ok, label)
		assert.Equal(t, errors.NotFound, code, label)
	}
	var code errors.ErrorCode
	assert.False(t, errors.As(io.EOF, &code))
	assert.True(t, errors.Is(errors.ErrNoResponse, errors.Unavailable), "a predefined error")
	own := errors.NewErrorf("my_code", "own")
	assert.True(t, errors.Is(own, errors.ErrorCode("my_code")), "a code of the program")
	outer := errors.NewError(errors.Internal, notFound)
	assert.True(t, errors.Is(outer, errors.Internal))
	assert.True(t, errors.Is(outer, errors.NotFound), "an error that is wrapped counts, too")
	require.True(t, errors.As(outer, &code))
	assert.Equal(t, errors.Internal, code)
}

type foreignCode string

// foreign is an error type of another library, with its own type for codes.
type foreign struct {
	code foreignCode
	text string
}

func (e *foreign) Error() string     { return e.text }
func (e *foreign) Code() foreignCode { return e.code }

// detailed is an error type of another library that has details.
type detailed struct {
	foreign

	details []*anypb.Any
}

func (e *detailed) DetailsProto() []*anypb.Any { return e.details }

// statusError is an error type of another library whose details are in a gRPC status.
type statusError struct {
	foreign

	status *status.Status
}

func (e *statusError) GRPCStatus() *status.Status { return e.status }

// stringError is an error type of another library whose code is a string.
type stringError struct{ code string }

func (e stringError) Error() string { return "plain" }
func (e stringError) Code() string  { return e.code }

// numbered is an error type of another library whose code is a number.
type numbered struct{}

func (numbered) Error() string { return "numbered" }
func (numbered) Code() int     { return 7 }

// asking is an error type of another library. Its method Code takes an argument, so this package
// must ignore that method.
type asking struct{}

func (asking) Error() string           { return "asking" }
func (asking) Code(name string) string { return name }

func TestToWire_ErrorsOfOtherLibrariesKeepTheirCode(t *testing.T) {
	t.Parallel()
	detail := pack(t, wrapperspb.String("d"))
	withDetails, err := status.New(codes.Aborted, "in the status").WithDetails(protoadapt.MessageV1Of(wrapperspb.String("d")))
	require.NoError(t, err)
	gone := &foreign{"gone_fishing", "no answer"}
	for label, test := range map[string]struct {
		err     error
		code    errors.ErrorCode
		text    string
		details []*anypb.Any
	}{
		"own code":        {gone, "gone_fishing", "no answer", nil},
		"known code":      {&foreign{"malformed_request", "bad"}, errors.MalformedRequest, "bad", nil},
		"no text":         {&foreign{"not_acceptable", ""}, errors.NotAcceptable, "not_acceptable", nil},
		"wrapped":         {fmt.Errorf("outer: %w", gone), "gone_fishing", "no answer", nil},
		"joined":          {errors.Join(io.EOF, gone), "gone_fishing", "no answer", nil},
		"wrapped twice":   {fmt.Errorf("a: %w", errors.Join(io.EOF, fmt.Errorf("b: %w", gone))), "gone_fishing", "no answer", nil},
		"details":         {&detailed{*gone, []*anypb.Any{detail}}, "gone_fishing", "no answer", []*anypb.Any{detail}},
		"status":          {&statusError{*gone, withDetails}, "gone_fishing", "no answer", []*anypb.Any{detail}},
		"a string":        {stringError{"upstream_server_error"}, errors.UpstreamServerError, "plain", nil},
		"a pointer":       {&stringError{"data_loss"}, errors.DataLoss, "plain", nil},
		"own error first": {errors.Join(gone, errors.NewErrorf(errors.NotFound, "ours")), errors.NotFound, "ours", nil},
		"before gRPC":     {errors.Join(status.Error(codes.Aborted, "gRPC"), gone), "gone_fishing", "no answer", nil},
		"a number":        {numbered{}, errors.Unknown, "numbered", nil},
		"an argument":     {asking{}, errors.Unknown, "asking", nil},
		"empty code":      {stringError{}, errors.Unknown, "plain", nil},
		"twirp":           {twirp.NotFoundError("x"), errors.Unknown, "twirp error not_found: x", nil},
		"code itself":     {errors.NotFound, errors.Unknown, "not_found", nil},
	} {
		code, text, details := errors.ToWire(test.err)
		assert.Equal(t, test.code, code, label)
		assert.Equal(t, test.text, text, label)
		require.Len(t, details, len(test.details), label)
		for i := range details {
			assert.True(t, proto.Equal(test.details[i], details[i]), label)
		}
		code, text = errors.ToStreamClose(test.err)
		assert.Equal(t, test.code, code, label)
		assert.Equal(t, test.text, text, label)
		assert.Equal(t, test.code, errors.FromContext(test.err).Code(), label)
	}
}
