package dynamic

import (
	"context"
	"fmt"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// ErrKeepaliveTimeout closes a stream of which nothing was heard any more, see [WithKeepalive].
var ErrKeepaliveTimeout = errors.NewErrorf(errors.Unavailable, "stream peer vanished")

// Close closes the stream on this side and tells the other one why. What has come, but has not been read, can still
// be read as far as it is in the channel. If the stream was closed already it returns why.
func (s *stream) Close(cause error) error {
	if !s.tasks.Enter() { // what waits for the stream's end waits for this, too
		return s.Err()
	}
	defer s.tasks.Leave()
	if !s.markClosed(closeError(cause)) {
		s.closeReaderGone()
		return s.Err()
	}
	s.closeReaderGone()
	return s.sendClose(cause)
}

// closeIntercepted is Close for the stream's user: through the interceptors.
func (s *stream) closeIntercepted(cause error) error {
	if s.chain == nil {
		return s.Close(cause)
	}
	return s.chain.close(s, cause)
}

// closeError is what Err says of a stream that is closed for a cause.
func closeError(cause error) error {
	if cause == nil {
		return errors.ErrStreamClosed
	}
	if _, coded := errors.AsType[errors.Error](cause); coded {
		return cause
	}
	return errors.NewError(errors.Unknown, cause)
}

// sendClose sends the last frame of the stream, behind whatever is being sent.
func (s *stream) sendClose(cause error) error {
	code, text := errors.ToStreamClose(cause)
	requestID, now := id.NewRequest(), time.Now()
	last := wire.Stream{
		StreamID: s.id, RequestID: requestID[:], SentAt: now.UnixNano(), Expiry: now.Add(s.timeout).UnixNano(),
		Op: wire.StreamClose, Code: string(code), Error: text, Details: closeDetails(cause),
	}
	frame, err := last.AppendFrame(nil)
	if err != nil { // the details: without them psrpc would understand it, too
		last.Details = nil
		if frame, err = last.AppendFrame(nil); err != nil {
			return errors.NewErrorf(errors.Internal, "close of stream %s cannot be encoded: %w", s.method.FullName(), err)
		}
	}
	ctx := lazyctx.Context{Parent: context.Background(), Expiry: now.Add(s.timeout)}
	defer ctx.Cancel()
	if err := s.lockSend(&ctx); err != nil {
		return s.withFacts(transport.ClassifyError(err))
	}
	defer s.unlockSend()
	err = s.bus.Publish(&ctx, s.remote, frame, nil)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		err = s.sendTooLarge(&ctx, last, err)
	}
	if err != nil {
		return s.withFacts(transport.ClassifyError(err))
	}
	return nil
}

// sendTooLarge sends, instead of a close that is too large, one that says so.
func (s *stream) sendTooLarge(ctx context.Context, last wire.Stream, tooLarge error) error {
	last.Code, last.Details = string(errors.ResourceExhausted), nil
	last.Error = fmt.Sprintf("close of stream %s: %v", s.method.FullName(), tooLarge)
	frame, err := last.AppendFrame(nil)
	if err != nil {
		return err
	}
	return s.bus.Publish(ctx, s.remote, frame, nil)
}

// closeDetails are those of the error that [errors.ToStreamClose] takes. psrpc does not send any.
func closeDetails(cause error) []*anypb.Any {
	if coded, ok := errors.AsType[errors.Error](cause); ok {
		return coded.DetailsProto()
	}
	return nil
}

// onRemoteClose ends the stream as the other side says. What came before that can still be read, for a while. It never
// blocks.
func (s *stream) onRemoteClose(frame *wire.Stream) {
	err := errors.FromStreamClose(errors.ErrorCode(frame.Code), frame.Error)
	if len(frame.Details) > 0 {
		err = errors.FromWire(err.Code(), err.Error(), frame.Details)
	}
	if s.markClosed(err) && s.opening != nil {
		s.opening.onRefused(err)
	}
}
