package dynamic_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// BenchmarkInterceptors measures a call over the in-process bus through a number of interceptors
// that do nothing.
func BenchmarkInterceptors(b *testing.B) {
	ofServer := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
		return next(ctx, request)
	}
	ofClient := func(_ dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
		return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, request, opts...)
		}
	}
	for _, n := range []int{0, 1, 5} {
		for side, options := range map[string]with{
			"server": {server: []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(slices.Repeat([]dynamic.ServerRPCInterceptor{ofServer}, n)...)}},
			"client": {conn: []dynamic.ConnOption{dynamic.WithClientRPCInterceptors(slices.Repeat([]dynamic.ClientRPCInterceptor{ofClient}, n)...)}},
		} {
			b.Run(fmt.Sprintf("%s/n=%d", side, n), func(b *testing.B) {
				w := newSeenWorld(b, options)
				client, request := textClient(b, w.conn, seenEcho), say("0123456789012345678901234567890123456789012345678901234567890123")
				benchmarkCallers(b, 1, func() error {
					_, err := client.Call(b.Context(), request)
					return err
				})
			})
		}
	}
}
