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

// ErrKeepaliveTimeout is the error of a stream that was closed because no frame had arrived from
// the other side for too long. See [WithKeepalive] and [WithStreamIdleTimeout].
var ErrKeepaliveTimeout = errors.NewErrorf(errors.Unavailable, "stream peer vanished")

// Close closes the stream on this side and sends cause to the other side. Messages that are already
// in the channel can still be read. If the stream was already closed, Close returns the same error
// as Err.
func (s *stream) Close(cause error) error {
	// The method pump waits until this call to Close has ended. The close frame is thus sent before
	// pump returns.
	if !s.tasks.Enter() {
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

// closeIntercepted is called when the user closes the stream. If there are interceptors, it calls
// their Close methods first.
func (s *stream) closeIntercepted(cause error) error {
	if s.chain == nil {
		return s.Close(cause)
	}
	return s.chain.close(s, cause)
}

// closeError returns the error that Err returns after the stream has been closed by a call to Close
// with cause.
func closeError(cause error) error {
	if cause == nil {
		return errors.ErrStreamClosed
	}
	if _, coded := errors.AsType[errors.Error](cause); coded {
		return cause
	}
	code, _ := errors.ToStreamClose(cause)
	return errors.NewError(code, cause)
}

// sendClose sends the close frame, which is the last frame of the stream. If another frame is being
// sent, sendClose waits for its turn. It uses a context of its own, because the stream's context
// has already ended.
func (s *stream) sendClose(cause error) error {
	code, text := errors.ToStreamClose(cause)
	requestID, now := id.NewRequest(), time.Now()
	last := wire.Stream{
		StreamID: s.id, RequestID: requestID[:], SentAt: now.UnixNano(), Expiry: now.Add(s.timeout).UnixNano(),
		Op: wire.StreamClose, Code: string(code), Error: text, Details: closeDetails(cause),
	}
	frame, err := last.AppendFrame(nil)
	// If the details cannot be encoded, only the code and the text are sent, as in psrpc.
	if err != nil {
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

// sendTooLarge replaces a close frame that is too large for the bus. It sends a close frame with a
// shortened text and without details, so that the other side is told that the stream is closed.
func (s *stream) sendTooLarge(ctx context.Context, last wire.Stream, tooLarge error) error {
	last.Details = nil
	last.Error = transport.ShortenError(last.Error, fmt.Errorf("close of stream %s: %w", s.method.FullName(), tooLarge))
	frame, err := last.AppendFrame(nil)
	if err != nil {
		return err
	}
	return s.bus.Publish(ctx, s.remote, frame, nil)
}

// closeDetails returns the error details of cause. They are sent in addition to the results of
// [errors.ToStreamClose]. psrpc peers ignore them. If the code that is sent is not the code of
// cause, as with a gRPC status, there are no details, because they belong to the code of cause.
func closeDetails(cause error) []*anypb.Any {
	sent, _ := errors.ToStreamClose(cause)
	code, _, details := errors.ToWire(cause)
	if code != sent {
		return nil
	}
	return details
}

// onRemoteClose closes the stream with the error sent by the other side. If the stream is not open
// yet, the request to open it fails with that error. The method pump still delivers the messages
// that arrived earlier; see typedStream.deliverAfterClose. onRemoteClose never blocks.
func (s *stream) onRemoteClose(frame *wire.Stream) {
	err := errors.FromStreamClose(errors.ErrorCode(frame.Code), frame.Error)
	if len(frame.Details) > 0 {
		err = errors.FromWire(err.Code(), err.Error(), frame.Details)
	}
	if s.markClosed(err) && s.opening != nil {
		s.opening.onRefused(err)
	}
}

// closeWithContext makes the stream close when ctx ends.
func (s *stream) closeWithContext(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = s.Close(ctx.Err()) })
	if !s.onClose(func() { stop() }) {
		stop()
	}
}
