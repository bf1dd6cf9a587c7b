package main

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

type (
	textClient = dynamic.Client[text, text]
	textStream = dynamic.ClientStream[text, text]
)

func say(id string) text { return wrapperspb.String(id) }

// newAttempts returns a function for each kind of operation. One kind is missing: sendOnStreams
// sends messages on a stream that stays open.
func newAttempts(conn *dynamic.Conn, timeout time.Duration) (map[string]attempt, error) {
	attempts := map[string]attempt{}
	for kind, method := range feeds {
		attempts[kind] = func(ctx context.Context, id string) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return publish(ctx, conn, method, id)
		}
	}
	limit := dynamic.WithRequestTimeout(timeout)
	for kind, method := range map[string]string{
		"queue": "Queue", "affinity": "Affinity", "multi": "Multi", "topic": "Topic", "opening": "Stream",
	} {
		client, err := dynamic.NewClient[text, text](conn, "chaos.Work/"+method)
		if err != nil {
			return nil, err
		}
		attempts[kind] = func(ctx context.Context, id string) error {
			switch kind {
			case "multi":
				return callMulti(ctx, client, id, limit)
			case "opening":
				return openOnce(ctx, client, id, timeout)
			case "topic":
				_, err := client.Topic(region).Call(ctx, say(id), limit)
				return err
			default:
				_, err := client.Call(ctx, say(id), limit)
				return err
			}
		}
	}
	return attempts, nil
}

// callMulti makes a multi call. It succeeds if at least one server responds without an error. The
// call ends early when fleetSize servers have responded.
func callMulti(ctx context.Context, client *textClient, id string, limit dynamic.RequestOption) error {
	responses, err := client.CallMulti(ctx, say(id), limit, dynamic.WithExpectedResponses(fleetSize))
	if err != nil {
		return err
	}
	answered, err := false, error(errNoAnswer)
	for response := range responses {
		if response.Err != nil {
			err = response.Err
		}
		answered = answered || response.Err == nil
	}
	if answered {
		return nil
	}
	return err
}

// openOnce opens a stream, sends one message, reads its echo and closes the stream.
func openOnce(ctx context.Context, client *textClient, id string, timeout time.Duration) error {
	stream, err := client.OpenStream(ctx, dynamic.WithRequestTimeout(timeout))
	if err != nil {
		return err
	}
	defer stream.Close(nil) //nolint:errcheck // fails if the stream has already ended
	if err := stream.Send(say(id + "-1")); err != nil {
		return err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case _, open := <-stream.Channel():
		if !open {
			return stream.Err()
		}
		return nil
	case <-timer.C:
		return errNoEcho
	}
}

var (
	errNoAnswer = errors.NewErrorf(errors.DeadlineExceeded, "no server has answered")
	errNoEcho   = errors.NewErrorf(errors.DeadlineExceeded, "no echo has arrived")
)
