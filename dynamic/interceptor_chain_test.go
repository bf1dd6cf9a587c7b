package dynamic

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// noopChains returns one function for the server side and one for the client side. Each calls n
// interceptors and a handler, none of which does anything.
func noopChains(tb testing.TB, n int) map[string]func() {
	tb.Helper()
	ctx, message := context.Background(), &emptypb.Empty{}
	server := chainServerRPC(slices.Repeat([]ServerRPCInterceptor{
		func(ctx context.Context, request proto.Message, _ RPCInfo, next ServerRPCHandler) (proto.Message, error) {
			return next(ctx, request)
		},
	}, n), RPCInfo{}, func(_ context.Context, request proto.Message) (proto.Message, error) { return request, nil })
	client, err := chain(slices.Repeat([]ClientRPCInterceptor{
		func(_ RPCInfo, next ClientRPCHandler) ClientRPCHandler {
			return func(ctx context.Context, request proto.Message, opts ...RequestOption) (proto.Message, error) {
				return next(ctx, request, opts...)
			}
		},
	}, n), RPCInfo{}, func(_ context.Context, request proto.Message, _ ...RequestOption) (proto.Message, error) {
		return request, nil
	})
	require.NoError(tb, err)
	return map[string]func(){
		"server": func() { _, _ = server(ctx, message) },
		"client": func() { _, _ = client(ctx, message) },
	}
}

// BenchmarkInterceptorChain measures interceptors alone, without a call. BenchmarkInterceptors
// measures them as part of a call.
func BenchmarkInterceptorChain(b *testing.B) {
	for _, n := range []int{0, 1, 5} {
		for side, call := range noopChains(b, n) {
			b.Run(fmt.Sprintf("%s/n=%d", side, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					call()
				}
			})
		}
	}
}

// TestInterceptorChain_AllocatesNothing checks that interceptors by themselves cause no
// allocations. It is not parallel, because it counts the allocations of the whole process.
func TestInterceptorChain_AllocatesNothing(t *testing.T) {
	for side, call := range noopChains(t, 5) {
		assert.Zero(t, testing.AllocsPerRun(100, call), side)
	}
}
