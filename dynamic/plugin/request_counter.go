package plugin

import (
	"context"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// requestCounter counts the requests and streams of a version whose code does not count them
// itself. It implements CallCounter.
type requestCounter struct{ handled, failed atomic.Uint64 }

// Counts implements CallCounter.
func (c *requestCounter) Counts() (handled, failed uint64) { return c.handled.Load(), c.failed.Load() }

// registerOptions returns options that add interceptors for counting requests and streams.
func (c *requestCounter) registerOptions() []dynamic.ServiceOption {
	return []dynamic.ServiceOption{
		dynamic.WithServerRPCInterceptors(c.interceptCall), dynamic.WithServerStreamInterceptors(c.interceptStream),
	}
}

func (c *requestCounter) interceptCall(
	ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (proto.Message, error) {
	succeeded := false
	// The deferred function also counts requests whose handler panics.
	defer func() {
		c.handled.Add(1)
		if !succeeded {
			c.failed.Add(1)
		}
	}()
	response, err := handler(ctx, request)
	succeeded = err == nil
	return response, err
}

func (c *requestCounter) interceptStream(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return &countedStream{next, c}
}

// countedStream counts a stream when the stream is closed.
type countedStream struct {
	dynamic.StreamHandler

	counter *requestCounter
}

// Close counts the stream. If cause is an error other than ErrStreamClosed, the stream is counted
// as failed.
func (s *countedStream) Close(cause error) error {
	s.counter.handled.Add(1)
	if cause != nil && !errors.Is(cause, errors.ErrStreamClosed) {
		s.counter.failed.Add(1)
	}
	return s.StreamHandler.Close(cause)
}
