package interceptors

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
)

// foreignError is an error type of another library that has a code.
type foreignError struct{ code string }

func (foreignError) Error() string  { return "foreign" }
func (e foreignError) Code() string { return e.code }

// maskCases contains errors returned by handlers and the errors that callers must receive instead.
var maskCases = []struct {
	name   string
	err    error
	code   errors.ErrorCode
	text   string
	masked bool
}{
	{"coded", errors.NewErrorf(errors.NotFound, "no such place"), errors.NotFound, "no such place", false},
	{"wrapped", fmt.Errorf("secret: %w", errors.NewErrorf(errors.NotFound, "no such place")), errors.NotFound, "no such place", false},
	{"own code", errors.NewErrorf("my_code", "mine"), "my_code", "mine", false},
	{"without a code", errors.New("secret"), errors.Internal, "internal error", true},
	{"unknown", errors.NewErrorf(errors.Unknown, "secret"), errors.Internal, "internal error", true},
	{"internal", errors.NewErrorf(errors.Internal, "secret"), errors.Internal, "internal error", true},
	{"gRPC status", status.Error(codes.AlreadyExists, "there is one"), errors.AlreadyExists, "there is one", false},
	{"internal gRPC status", status.Error(codes.Internal, "secret"), errors.Internal, "internal error", true},
	{"canceled", fmt.Errorf("secret: %w", context.Canceled), errors.Unknown, "context canceled", false},
	{"deadline", fmt.Errorf("secret: %w", context.DeadlineExceeded), errors.Unknown, "context deadline exceeded", false},
	{"foreign, code of ours", foreignError{"not_found"}, errors.NotFound, "foreign", false},
	{"foreign, other code", foreignError{"NoSuchKey"}, errors.Internal, "internal error", true},
	{"internal, and canceled", errors.NewErrorf(errors.Internal, "secret: %w", context.Canceled), errors.Internal, "internal error", true},
}

func TestErrorMask_Calls(t *testing.T) {
	t.Parallel()
	for _, tt := range maskCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log, hooked := &capturedLog{}, make(chan error, 10)
			s := testservice.New(t, testservice.Config{
				Server: []dynamic.ServerOption{ErrorMask(slog.New(log), WithMaskHook(func(_ context.Context, info dynamic.RPCInfo, err error) {
					assert.Equal(t, "example.Weather", info.Service)
					hooked <- err
				}))},
				Handle: func(context.Context, testservice.Text) (testservice.Text, error) { return nil, tt.err },
			})
			for method, call := range map[string]func() (string, error){
				testservice.Ask:    func() (string, error) { return s.Call(t.Context(), testservice.Ask, "Rome") },
				testservice.AskAll: func() (string, error) { return s.CallAll(t.Context(), "Rome") },
			} {
				_, err := call()
				assert.Equal(t, tt.text, requireCode(t, tt.code, err).Error())
				if !tt.masked {
					continue
				}
				assert.Equal(t, tt.err, <-hooked)
				last := log.all()[len(log.all())-1]
				assert.Equal(t, tt.err.Error(), last["error"])
				assert.Equal(t, method, last["method"])
			}
			if !tt.masked {
				assert.Empty(t, log.all())
			}
		})
	}
}

func TestErrorMask_Streams(t *testing.T) {
	t.Parallel()
	for _, tt := range maskCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := &capturedLog{}
			s := testservice.New(t, testservice.Config{
				Server: []dynamic.ServerOption{ErrorMask(slog.New(log))},
				Talk:   func(testservice.Stream) error { return tt.err },
			})
			stream, err := s.Open(t.Context())
			require.NoError(t, err)
			<-stream.Context().Done()
			// When a handler returns a gRPC status error, the stream is closed without the status
			// code.
			if coded, _ := errors.AsType[errors.Error](stream.Err()); tt.name != "gRPC status" {
				assert.Equal(t, tt.text, coded.Error())
				assert.Equal(t, tt.code, coded.Code())
			}
			require.NoError(t, s.Registration.Close(t.Context()))
			if tt.masked {
				require.Len(t, log.all(), 1)
				assert.Equal(t, tt.err.Error(), log.all()[0]["error"])
			} else {
				assert.Empty(t, log.all())
			}
		})
	}
}

// TestErrorMask_RefusedMessage checks that the error with which an interceptor rejects a stream
// message is masked too.
func TestErrorMask_RefusedMessage(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{Server: []dynamic.ServerOption{
		ErrorMask(slog.New(slog.DiscardHandler)),
		dynamic.WithServerStreamInterceptors(func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler { return refusing{next} }),
	}})
	stream, err := s.Open(t.Context())
	require.NoError(t, err)
	_ = stream.Send(say("hi"))
	<-stream.Context().Done()
	assert.Equal(t, "internal error", stream.Err().Error())
}

type refusing struct{ dynamic.StreamHandler }

func (refusing) Recv(proto.Message) error { return errors.New("secret") }

// TestErrorMask_OtherSide checks that the error with which a client closes its stream is neither
// masked nor logged.
func TestErrorMask_OtherSide(t *testing.T) {
	t.Parallel()
	log, seen := &capturedLog{}, make(chan error, 1)
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{ErrorMask(slog.New(log))},
		Talk: func(stream testservice.Stream) error {
			<-stream.Context().Done()
			seen <- stream.Err()
			return errors.New("too late")
		},
	})
	stream, err := s.Open(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Close(errors.New("the client's")))
	assert.Equal(t, "the client's", (<-seen).Error())
	require.NoError(t, s.Registration.Close(t.Context()))
	assert.Empty(t, log.all())
}

func TestErrorMask_Codes(t *testing.T) {
	t.Parallel()
	returned := errors.NewError(errors.Internal, errors.New("mine"), &errdetails.ErrorInfo{Reason: "bug"})
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{ErrorMask(slog.New(slog.DiscardHandler), WithMaskedCodes(errors.NotFound))},
		Handle: func(_ context.Context, request testservice.Text) (testservice.Text, error) {
			if request.GetValue() == "" {
				return nil, errors.NewErrorf(errors.NotFound, "secret")
			}
			return nil, returned
		},
	})
	_, err := s.Call(t.Context(), testservice.Ask, "")
	assert.Equal(t, "internal error", requireCode(t, errors.Internal, err).Error())
	_, err = s.Call(t.Context(), testservice.Ask, "Rome")
	assert.Equal(t, "mine", requireCode(t, errors.Internal, err).Error())
	assert.Len(t, requireCode(t, errors.Internal, err).Details(), 1)
}

func TestErrorMask_Success(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{Server: []dynamic.ServerOption{ErrorMask(nil)}})
	assert.Equal(t, "rain in Rome", must(s.Call(t.Context(), testservice.Ask, "Rome")))
	stream := must(s.Open(t.Context()))
	require.NoError(t, stream.Send(say("hi")))
	require.NoError(t, stream.Close(nil))
}
