package verbs

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// stream opens a stream, sends the messages as they come, and prints what arrives. It ends when the
// server closes the stream, or when as many messages have arrived as --expect says. It also ends if
// nothing arrives during the timeout after the last message was sent.
func (c *call) stream(ctx context.Context, messages iter.Seq2[proto.Message, error]) error {
	start := time.Now()
	stream, err := dynamic.InvokeStream(ctx, c.conn, c.method.FullName(), c.options...)
	if err != nil {
		return c.failed(err, "", time.Since(start))
	}
	settings, err := c.app.Settings()
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	// The goroutine ends when all messages are sent, the stream is closed or ctx ends.
	go func() { sent <- send(stream, messages) }()
	silence := time.NewTimer(time.Hour)
	silence.Stop()
	defer silence.Stop()
	var sending error
	done := false
	for received := 0; ; {
		select {
		case message, open := <-stream.Channel():
			if !open {
				return streamEnd(stream.Err(), sending)
			}
			if err := c.print(message); err != nil {
				return errors.Join(err, stream.Close(nil))
			}
			if received++; received == c.expect {
				return closeStream(stream, sending)
			}
		case sending = <-sent:
			done = true
			if sending != nil {
				return errors.Join(sending, stream.Close(nil))
			}
		case <-silence.C:
			return closeStream(stream, sending)
		}
		if done {
			silence.Reset(settings.Timeout)
		}
	}
}

// send sends messages on a stream. It returns nil if the stream is closed before all are sent.
func send(stream *dynamic.InvokedStream, messages iter.Seq2[proto.Message, error]) error {
	for message, err := range messages {
		if err != nil {
			return err
		}
		if err := stream.Send(message); err != nil {
			if stream.Err() != nil {
				return nil // the goroutine that reads from the stream reports its end
			}
			return err
		}
	}
	return nil
}

// closeStream closes a stream from this side. sending is the error of sending the messages;
// closeStream returns it if closing succeeds.
func closeStream(stream *dynamic.InvokedStream, sending error) error {
	if err := stream.Close(nil); err != nil {
		return app.RPC(err)
	}
	return sending
}

// streamEnd returns the error with which a stream has ended. If the server has closed it in an
// orderly way, the result is the error of sending the messages.
func streamEnd(err, sending error) error {
	switch {
	case err == nil, errors.Is(err, errors.ErrStreamClosed), errors.Is(err, errors.ErrStreamEOF):
		return sending
	default:
		return app.RPC(err)
	}
}
