package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

type text = *wrapperspb.StringValue

// row holds the measurements of a native handler or a plugin on a bus.
type row struct {
	name, bus string
	client    *dynamic.Client[text, text]
	// native is the row of the native handler on the same bus. It is nil if this row measures the
	// native handler itself.
	native *row

	// p50 and allocs hold the median latency in microseconds and the number of allocations per
	// call, both measured with one caller. rate holds the number of calls per second made by all
	// concurrent callers together. Each slice has one value per round.
	p50, rate, allocs []float64
}

const (
	// callers is the number of concurrent callers.
	callers = 16
	// warm is the number of warm-up calls before each measurement.
	warm = 1000
)

// body is the text of every request. It is 64 bytes long, like the small messages of the command
// bench.
var body = strings.Repeat("x", 64)

func (r *row) call(ctx context.Context) error {
	response, err := r.client.Call(ctx, wrapperspb.String(body))
	if err == nil && response.GetValue() != body {
		err = errors.New("the answer is wrong")
	}
	return err
}

// measure adds one round of measurements to r. It runs a single caller for the given duration, and
// then many concurrent callers for the same duration.
func (r *row) measure(ctx context.Context, duration time.Duration) error {
	for range warm {
		if err := r.call(ctx); err != nil {
			return fmt.Errorf("%s on %s: %w", r.name, r.bus, err)
		}
	}
	var before, after runtime.MemStats
	took := make([]time.Duration, 0, 1<<20)
	runtime.ReadMemStats(&before)
	for end := time.Now().Add(duration); len(took) < cap(took); {
		start := time.Now()
		if start.After(end) {
			break
		}
		if err := r.call(ctx); err != nil {
			return fmt.Errorf("%s on %s: %w", r.name, r.bus, err)
		}
		took = append(took, time.Since(start))
	}
	runtime.ReadMemStats(&after)
	r.p50 = append(r.p50, float64(median(took).Nanoseconds())/1e3)
	r.allocs = append(r.allocs, float64(after.Mallocs-before.Mallocs)/float64(len(took)))
	rate, err := r.crowd(ctx, duration)
	r.rate = append(r.rate, rate)
	return err
}

// crowd runs many concurrent callers for the given duration and returns the total number of calls
// that they made per second.
func (r *row) crowd(ctx context.Context, duration time.Duration) (rate float64, err error) {
	var calls atomic.Uint64
	var failure atomic.Pointer[error]
	var running sync.WaitGroup
	start := time.Now()
	for range callers {
		// The call to running.Wait below waits until this goroutine has ended.
		running.Go(func() {
			n := uint64(0)
			for ; time.Since(start) < duration; n++ {
				if err := r.call(ctx); err != nil {
					failure.Store(&err)
					break
				}
			}
			calls.Add(n)
		})
	}
	running.Wait()
	if failed := failure.Load(); failed != nil {
		return 0, fmt.Errorf("%s on %s: %w", r.name, r.bus, *failed)
	}
	return float64(calls.Load()) / time.Since(start).Seconds(), nil
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratio divides each value by the native handler's value from the same round, and returns the
// median of these ratios.
func ratio(values, native []float64) float64 {
	ratios := make([]float64, len(values))
	for i := range values {
		ratios[i] = values[i] / native[i]
	}
	return median(ratios)
}

func printTable(out io.Writer, rows []*row) {
	_, _ = fmt.Fprintf(out, "| bus | who answers | p50 | of native | allocs | calls/s of %d callers | of native |\n", callers)
	_, _ = fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		slower, rate := "", ""
		if r.native != nil {
			slower = fmt.Sprintf("%.2f", ratio(r.p50, r.native.p50))
			rate = fmt.Sprintf("%.2f", ratio(r.rate, r.native.rate))
		}
		_, _ = fmt.Fprintf(out, "| %s | %s | %.1f µs | %s | %.1f | %.1fk | %s |\n",
			r.bus, r.name, median(r.p50), slower, median(r.allocs), median(r.rate)/1e3, rate)
	}
}
