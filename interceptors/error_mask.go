package interceptors

import (
	"context"
	"log/slog"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ErrMasked is the error that callers receive instead of a masked error.
var ErrMasked = errors.NewErrorf(errors.Internal, "internal error")

// ErrorMaskOption configures [ErrorMask].
type ErrorMaskOption func(*errorMask)

// WithMaskedCodes sets the error codes that are masked. The defaults are internal and unknown. An
// error without a code counts as unknown.
func WithMaskedCodes(codes ...errors.ErrorCode) ErrorMaskOption {
	return func(m *errorMask) { m.codes = slices.Clone(codes) }
}

// WithMaskHook sets a function that is called with each masked error. It is called on the goroutine
// of the handler that returned the error.
func WithMaskHook(hook func(ctx context.Context, info dynamic.RPCInfo, err error)) ErrorMaskOption {
	return func(m *errorMask) { m.hook = hook }
}

// ErrorMask hides internal errors from callers. It applies to errors returned by calls and to
// errors that close streams. An error with one of the codes set by [WithMaskedCodes] is logged and
// replaced by [ErrMasked], with one exception that is described below. All other errors reach the
// caller unchanged, including their details. If logger is nil, slog.Default() is used.
//
// An error without a code is treated as an error with the code unknown. The same applies to an
// error of another module that has a code which package errors does not define.
//
// The exception is an error with the code unknown that wraps context.Canceled or
// context.DeadlineExceeded. It is not logged, and the caller receives the wrapped error with its
// usual code.
func ErrorMask(logger *slog.Logger, opts ...ErrorMaskOption) dynamic.ServiceOption {
	m := &errorMask{logger: loggerOrDefault(logger), codes: []errors.ErrorCode{errors.Unknown, errors.Internal}}
	for _, opt := range opts {
		if opt != nil {
			opt(m)
		}
	}
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC:    m.serve,
		ServerStream: m.stream,
	})
}

type errorMask struct {
	logger *slog.Logger
	codes  []errors.ErrorCode
	hook   func(context.Context, dynamic.RPCInfo, error)
}

// mask returns the error to send to the caller instead of err.
func (m *errorMask) mask(ctx context.Context, info dynamic.RPCInfo, err error) error {
	code := codeOf(err)
	if _, own := errors.AsType[errors.Error](err); !own && !code.Known() {
		code = errors.Unknown
	}
	switch {
	case err == nil || !slices.Contains(m.codes, code):
		return err
	case code == errors.Unknown && errors.Is(err, context.Canceled):
		return context.Canceled
	case code == errors.Unknown && errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	m.logger.LogAttrs(ctx, slog.LevelError, "masked error", slog.String("method", info.Descriptor.FullName()),
		slog.String("code", string(code)), slog.String("error", err.Error()))
	if m.hook != nil {
		m.hook(ctx, info, err)
	}
	return ErrMasked
}

func (m *errorMask) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (proto.Message, error) {
	response, err := handler(ctx, request)
	return response, m.mask(ctx, info, err)
}

func (m *errorMask) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return maskedStream{next, m, info}
}

type maskedStream struct {
	dynamic.StreamHandler

	errorMask *errorMask
	info      dynamic.RPCInfo
}

// Recv masks the error if an inner interceptor rejects a message, because that error closes the
// stream and is sent to the client.
func (s maskedStream) Recv(message proto.Message) error {
	return s.maskCause(s.StreamHandler.Recv(message))
}

func (s maskedStream) Close(cause error) error {
	return s.StreamHandler.Close(s.maskCause(cause))
}

func (s maskedStream) maskCause(cause error) error {
	ctx := dynamic.StreamContext(s.StreamHandler)
	if ctx.Err() != nil {
		// The stream is already closed, and the client has already received the error.
		return cause
	}
	return s.errorMask.mask(ctx, s.info, cause)
}
