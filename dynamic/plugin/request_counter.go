package plugin

import (
	"context"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// requestCounter counts what services handle.
type requestCounter struct{ handled, failed atomic.Uint64 }

// registerOptions are what makes a service be counted.
func (c *requestCounter) registerOptions() []dynamic.RegisterOption {
	return []dynamic.RegisterOption{
		dynamic.WithServerRPCInterceptors(c.call), dynamic.WithServerStreamInterceptors(c.stream),
	}
}

func (c *requestCounter) call(
	ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (proto.Message, error) {
	ended := false
	defer func() { // also if the handler panics
		c.handled.Add(1)
		if !ended {
			c.failed.Add(1)
		}
	}()
	response, err := handler(ctx, request)
	ended = err == nil
	return response, err
}

func (c *requestCounter) stream(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return &countedStream{next, c}
}

// countedStream is a stream that is counted when it is closed.
type countedStream struct {
	dynamic.StreamHandler

	counter *requestCounter
}

func (s *countedStream) Close(cause error) error {
	s.counter.handled.Add(1)
	if cause != nil && !errors.Is(cause, errors.ErrStreamClosed) {
		s.counter.failed.Add(1)
	}
	return s.StreamHandler.Close(cause)
}

// Counts makes it a Counter.
func (c *requestCounter) Counts() (handled, failed uint64) { return c.handled.Load(), c.failed.Load() }

// chooseCallCounter returns who counts: the code, if it does so by itself.
func (v *version) chooseCallCounter() CallCounter {
	if c, ok := v.instance.(CallCounter); ok {
		return c
	}
	return &v.counter
}
