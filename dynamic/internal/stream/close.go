package stream

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Close closes the stream on this side and sends cause to the other side. Messages that are already
// in the reader's channel can still be read. If the stream was already closed, Close returns the
// same error as Err. Otherwise, it returns nil, or the error of the bus if the other side may not
// have been notified.
func (s *Stream) Close(cause error) error {
	// The method Run waits until this call to Close has ended. The close frame is thus sent before
	// Run returns.
	if !s.tasks.Enter() {
		return s.Err()
	}
	defer s.tasks.Leave()
	if !s.CloseLocally(CloseError(cause)) {
		s.closeReaderGone()
		return s.Err()
	}
	s.closeReaderGone()
	return s.sendClose(cause)
}

// CloseIntercepted is called when the user closes the stream. If there are interceptors, it calls
// their Close methods first.
func (s *Stream) CloseIntercepted(cause error) error {
	if s.chain == nil {
		return s.Close(cause)
	}
	return s.chain.Close(cause)
}

// CloseWithContext makes the stream close when ctx ends.
func (s *Stream) CloseWithContext(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = s.Close(ctx.Err()) })
	if !s.onClose(func() { stop() }) {
		stop()
	}
}

// CloseError returns the error that Err returns after the stream has been closed by a call to Close
// with cause.
func CloseError(cause error) error {
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
func (s *Stream) sendClose(cause error) error {
	code, text := errors.ToStreamClose(cause)
	requestID, now := id.NewRequest(), time.Now()
	last := wire.Stream{
		StreamID: s.config.ID, RequestID: requestID[:], SentAt: now.UnixNano(), Expiry: now.Add(s.config.Timeout).UnixNano(),
		Op: wire.StreamClose, Code: string(code), Error: text, Details: closeDetails(cause),
	}
	frame, err := last.AppendFrame(nil)
	// If the details cannot be encoded, only the code and the text are sent, as in psrpc.
	if err != nil {
		last.Details = nil
		if frame, err = last.AppendFrame(nil); err != nil {
			return errors.NewErrorf(errors.Internal, "close of stream %s cannot be encoded: %w", s.config.Method.FullName(), err)
		}
	}
	ctx := lazyctx.Context{Parent: context.Background(), Expiry: now.Add(s.config.Timeout)}
	defer ctx.Cancel()
	if err := s.lockSend(&ctx); err != nil {
		return s.config.withFacts(transport.ClassifyError(err))
	}
	defer s.unlockSend()
	err = s.config.Bus.Publish(&ctx, s.config.Remote, frame, nil)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		err = s.sendTooLarge(&ctx, last, err)
	}
	if err != nil {
		return s.config.withFacts(transport.ClassifyError(err))
	}
	return nil
}

// sendTooLarge replaces a close frame that is too large for the bus. It sends a close frame with a
// shortened text and without details, so that the other side still learns that the stream is
// closed.
func (s *Stream) sendTooLarge(ctx context.Context, last wire.Stream, tooLarge error) error {
	last.Details = nil
	last.Error = transport.ShortenError(last.Error, fmt.Errorf("close of stream %s: %w", s.config.Method.FullName(), tooLarge))
	frame, err := last.AppendFrame(nil)
	if err != nil {
		return err
	}
	return s.config.Bus.Publish(ctx, s.config.Remote, frame, nil)
}

// closeDetails returns the error details of cause. They are sent in addition to the results of
// [errors.ToStreamClose]. psrpc peers ignore them. The details belong to the code of cause. If
// cause is a gRPC status, another code is sent, so closeDetails returns nil.
func closeDetails(cause error) []*anypb.Any {
	sent, _ := errors.ToStreamClose(cause)
	code, _, details := errors.ToWire(cause)
	if code != sent {
		return nil
	}
	return details
}

// onRemoteClose closes the stream with the error sent by the other side. If the stream is not open
// yet, the request to open it fails with that error. The method Run still delivers the messages
// that arrived earlier; see Reader.deliverAfterClose. onRemoteClose never blocks.
func (s *Stream) onRemoteClose(frame *wire.Stream) {
	err := errors.FromStreamClose(errors.ErrorCode(frame.Code), frame.Error)
	if len(frame.Details) > 0 {
		err = errors.FromWire(err.Code(), err.Error(), frame.Details)
	}
	if s.CloseLocally(err) && s.config.Opener != nil {
		s.config.Opener.Refused(err)
	}
}
