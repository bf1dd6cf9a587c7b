package wire_test

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

// What scripts tell our engine, and the player, to do.

// byItself is for frames that our engine sends without being told.
func byItself(*play) {}

func awaitCalls(p *play) { require.True(p, wait(&p.calls)) }

func cancelCalls(p *play) { p.client.cancel() }

// atOnce requires that the call fails sooner than any timeout could end it.
func atOnce(p *play) {
	started := time.Now()
	awaitCalls(p)
	assert.Less(p, time.Since(started), 200*time.Millisecond)
}

// passTime is for scenarios in which time must go by.
func passTime(d time.Duration) func(*play) {
	return func(*play) { <-time.After(d) }
}

// callWithin begins the call of a recorded frame, with a deadline unless it is 0.
func callWithin(timeout time.Duration, outcome string, frameIndex int, options ...dynamic.RequestOption) func(*play) {
	return func(p *play) {
		ctx := p.client.ctx
		if timeout != 0 {
			limited, cancel := context.WithTimeout(ctx, timeout)
			p.Cleanup(cancel)
			ctx = limited
		}
		p.client.call(ctx, outcome, p.scenario.Frames[frameIndex].frame(p), options...)
	}
}

func closesStream(cause error) func(*play) {
	return func(p *play) { p.client.closeStream(cause) }
}

// closesStreamAfter closes the client's stream once its reader has received a number of messages. A
// message may be acknowledged before the reader has received it, and a close discards it then.
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

// drainStream begins to read what waits on the server's stream.
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

// What scripts expect.

func coded(code, text string) any { return map[string]any{"code": code, "message": text} }

func failed(code, text string) any { return map[string]any{"error": coded(code, text)} }

func callFailed(code, text string) map[string]any {
	return map[string]any{"client_result": failed(code, text)}
}

// closing is another cause of a stream's close.
func closing(code, text string) func(message) message {
	return func(m message) message {
		cause := message{}.withText(closeError, text).withText(closeCode, code).encode()
		return m.with(streamClose, func(f *field) { f.bytes = cause })
	}
}

// withErrorText is another text of a response's error.
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
