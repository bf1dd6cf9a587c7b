package interceptors

import (
	"context"
	"log/slog"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ErrMasked is what callers see instead of an error that they are not to see.
var ErrMasked = errors.NewErrorf(errors.Internal, "internal error")

// ErrorMaskOption configures [ErrorMask].
type ErrorMaskOption func(*errorMask)

// WithMaskedCodes sets the codes of the errors that callers do not see. The default is unknown, which is also that of an
// error without a code, and internal.
func WithMaskedCodes(codes ...errors.ErrorCode) ErrorMaskOption {
	return func(m *errorMask) { m.codes = slices.Clone(codes) }
}

// WithMaskHook sets a function that is given each error that is masked, on the goroutine of its handler.
func WithMaskHook(hook func(ctx context.Context, info dynamic.RPCInfo, err error)) ErrorMaskOption {
	return func(m *errorMask) { m.hook = hook }
}

// ErrorMask decides what crosses the wire of the errors of calls, and of those with which streams are closed. One that its
// handler gave a code passes as it is, with its details. One without a code, or with one of [WithMaskedCodes], becomes
// [ErrMasked], and the whole of it goes to the logger. A nil logger is slog.Default(). Of an error that wraps that of a
// context, and has no code, only this passes.
func ErrorMask(logger *slog.Logger, opts ...ErrorMaskOption) dynamic.ServiceOption {
	m := &errorMask{logger: loggerOrDefault(logger), codes: []errors.ErrorCode{errors.Unknown, errors.Internal}}
	for _, opt := range opts {
		opt(m)
	}
	return dynamic.ServiceOptions(dynamic.WithServerRPCInterceptors(m.serve), dynamic.WithServerStreamInterceptors(m.stream))
}

type errorMask struct {
	logger *slog.Logger
	codes  []errors.ErrorCode
	hook   func(context.Context, dynamic.RPCInfo, error)
}

// mask returns what the caller may see of an error.
func (m *errorMask) mask(ctx context.Context, info dynamic.RPCInfo, err error) error {
	code := codeOf(err)
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

// Recv refuses a message for a reason that the client sees.
func (s maskedStream) Recv(message proto.Message) error {
	return s.maskCause(s.StreamHandler.Recv(message))
}

func (s maskedStream) Close(cause error) error {
	return s.StreamHandler.Close(s.maskCause(cause))
}

func (s maskedStream) maskCause(cause error) error {
	ctx := dynamic.StreamContext(s.StreamHandler)
	if ctx.Err() != nil { // the stream is closed already, and the client knows why
		return cause
	}
	return s.errorMask.mask(ctx, s.info, cause)
}
