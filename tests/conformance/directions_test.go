package conformance_test

import (
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// The following functions are steps of a script. They tell dynpsrpc what to do.

// byItself does nothing. It is the step for a frame that dynpsrpc sends without being told to.
func byItself(*play) {}

func awaitCalls(p *play) { require.True(p, wait(&p.calls)) }

func cancelCalls(p *play) { p.client.cancel() }

// atOnce requires that all calls end before any timeout expires.
func atOnce(p *play) {
	started := time.Now()
	awaitCalls(p)
	request := p.scenario.Frames[0].frame(p)
	timeout := min(p.bindings.lifetime(request.typeName(), request.inner), p.selectionTimeout())
	assert.Less(p, time.Since(started), timeout*9/10)
}

// passTime returns a step that waits for the duration d, which is scaled like the timeouts.
func passTime(d time.Duration) func(*play) {
	return func(p *play) { <-time.After(p.bindings.scaled(d)) }
}

// callWithin returns a step that repeats the call of a recorded frame. The call has a deadline
// unless timeout is 0. The timeout is scaled like the recorded ones.
func callWithin(timeout time.Duration, outcome string, frameIndex int, options ...dynamic.RequestOption) func(*play) {
	return func(p *play) {
		ctx := p.client.ctx
		if timeout != 0 {
			limited, cancel := context.WithTimeout(ctx, p.bindings.scaled(timeout))
			p.Cleanup(cancel)
			ctx = limited
		}
		p.client.call(ctx, outcome, p.scenario.Frames[frameIndex].frame(p), options...)
	}
}

func closesStream(cause error) func(*play) {
	return func(p *play) { p.client.closeStream(cause) }
}

// closesStreamAfter returns a step that closes the client's stream after the client has read a
// number of messages. Closing earlier could discard messages that the client has acknowledged but
// not yet read.
func closesStreamAfter(messages int) func(*play) {
	return func(p *play) {
		received := func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			list, _ := p.saw["client_received"].([]any)
			return len(list) >= messages
		}
		require.Eventually(p, received, patience, time.Millisecond, "the reader has received all messages")
		p.client.closeStream(nil)
	}
}

func handlerReturns(err error) func(*play) {
	return func(p *play) {
		p.server.onStream("", func(s servedStream) { s.returns <- err })
	}
}

// drainStream reads all messages from the server's stream in the background.
func drainStream(p *play) {
	p.server.onStream("", func(s servedStream) {
		for range s.stream.Channel() {
		}
	})
}

func untilContextEnds(p *play, ctx context.Context) {
	if _, ok := soon(ctx.Done()); !ok {
		p.Error("the handler's context does not end")
	}
	p.note("handler_context_error", ctx.Err().Error())
}

func notToldOfCancellation(p *play, ctx context.Context) {
	select {
	case <-ctx.Done():
		p.note("handler_context_error", ctx.Err().Error())
	case <-time.After(300 * time.Millisecond):
		p.note("handler_context_error", "none within 300ms")
	}
}

func selecting(options dynamic.SelectionOpts) []dynamic.RequestOption {
	return []dynamic.RequestOption{dynamic.WithSelectionOpts(options)}
}

// The following functions describe the results that a script expects.

func coded(code, text string) any { return map[string]any{"code": code, "message": text} }

func failed(code, text string) any { return map[string]any{"error": coded(code, text)} }

func callFailed(code, text string) map[string]any {
	return map[string]any{"client_result": failed(code, text)}
}

// closing returns a function that replaces the error in a frame that closes a stream.
func closing(code, text string) func(message) message {
	return func(m message) message {
		cause := message{}.withText(closeError, text).withText(closeCode, code).encode()
		return m.with(streamClose, func(f *field) { f.bytes = cause })
	}
}

// withErrorText returns a function that replaces the error text in a response.
func withErrorText(text string) func(message) message {
	return func(m message) message {
		m = slices.DeleteFunc(slices.Clone(m), func(f field) bool { return f.number == responseError })
		return m.withText(responseError, text)
	}
}

func tooMany() error {
	detailed, err := status.New(codes.ResourceExhausted, "too many").WithDetails(wrapperspb.String("status detail"))
	if err != nil {
		return err
	}
	return detailed.Err()
}
