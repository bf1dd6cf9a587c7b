package dynamic_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// echoes implements two methods of test.Echoes.
type echoes struct{}

func (*echoes) Echo(_ context.Context, request text) (text, error)   { return request, nil }
func (*echoes) Direct(_ context.Context, request text) (text, error) { return request, nil }

// BenchmarkHandlersOf measures a typed call over the in-process bus. It compares handlers from
// Unary with those from HandlersOf, and Client.Call with a function that Bind has set.
func BenchmarkHandlersOf(b *testing.B) {
	impl := &echoes{}
	for _, handlers := range []struct {
		name     string
		handlers dynamic.Handlers
	}{
		{"Unary", dynamic.Handlers{"Echo": dynamic.Unary(impl.Echo), "Direct": dynamic.Unary(impl.Direct)}},
		{"HandlersOf", dynamic.HandlersOf(impl)},
	} {
		for _, concurrency := range []int{1, 64} {
			w := newWorld(b)
			w.serve(b, handlers.handlers)
			client := textClient(b, w.conn, echo)
			var bound struct{ Echo dynamic.UnaryFunc[text, text] }
			if err := dynamic.Bind(w.conn, "test.Echoes", &bound, dynamic.AllowMissingFields()); err != nil {
				b.Fatal(err)
			}
			for name, call := range map[string]dynamic.UnaryFunc[text, text]{"Client": client.Call, "Bind": bound.Echo} {
				b.Run(fmt.Sprintf("%s/%s/callers=%d", handlers.name, name, concurrency), func(b *testing.B) {
					benchmarkCallers(b, concurrency, func() error {
						_, err := call(b.Context(), wrapperspb.String("0123456789012345678901234567890123456789012345678901234567890123"))
						return err
					})
				})
			}
		}
	}
}
