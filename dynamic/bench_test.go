package dynamic_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// BenchmarkCall measures a typed call over the in-process bus, with the client and the server in
// one process.
func BenchmarkCall(b *testing.B) {
	for kind, method := range map[string]string{"queue": echo, "single_server": direct} {
		for _, concurrency := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", kind, concurrency), func(b *testing.B) {
				w := newWorld(b)
				w.serve(b, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler), "Direct": dynamic.Unary(echoHandler)})
				client := textClient(b, w.conn, method)
				benchmarkCallers(b, concurrency, func() error {
					_, err := client.Call(b.Context(), wrapperspb.String("0123456789012345678901234567890123456789012345678901234567890123"))
					return err
				})
			})
		}
	}
}

// BenchmarkPingPong measures how long it takes one goroutine to pass a value to another and to get
// a reply. A call cannot be faster than that.
func BenchmarkPingPong(b *testing.B) {
	for _, concurrency := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", concurrency), func(b *testing.B) {
			there := make(chan chan struct{})
			for range concurrency {
				go func() {
					for back := range there {
						back <- struct{}{}
					}
				}()
			}
			backs := sync.Pool{New: func() any { return make(chan struct{}) }}
			benchmarkCallers(b, concurrency, func() error {
				back := backs.Get().(chan struct{})
				there <- back
				<-back
				backs.Put(back)
				return nil
			})
			close(there)
		})
	}
}

// benchmarkCallers spreads b.N calls over a number of goroutines and reports percentiles of their
// latency.
func benchmarkCallers(b *testing.B, concurrency int, call func() error) {
	b.ReportAllocs()
	latencies := make([][]time.Duration, concurrency)
	for i := range latencies {
		latencies[i] = make([]time.Duration, 0, b.N/concurrency+1)
	}
	var callers sync.WaitGroup
	b.ResetTimer()
	for i := range concurrency {
		callers.Go(func() {
			for n := i; n < b.N; n += concurrency {
				start := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				latencies[i] = append(latencies[i], time.Since(start))
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(latencies...)))
	b.ReportMetric(float64(all[len(all)/2]), "p50-ns")
	b.ReportMetric(float64(all[len(all)*99/100]), "p99-ns")
}
