package verbs

import (
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// exchange sends the messages on a stream as they come, and calls show for each message that
// arrives. It ends when the server closes the stream or, if expected is not 0, when that many
// messages have arrived. After the last message has been sent, it also ends if nothing arrives
// during the timeout.
func exchange(
	stream *dynamic.InvokedStream, messages iter.Seq2[proto.Message, error],
	show func(proto.Message) error, expected int, timeout time.Duration,
) error {
	sent := make(chan error, 1)
	// The goroutine ends when all messages are sent, the stream is closed or the context of the
	// messages ends.
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
			if err := show(message); err != nil {
				return errors.Join(err, stream.Close(nil))
			}
			if received++; received == expected {
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
			silence.Reset(timeout)
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
