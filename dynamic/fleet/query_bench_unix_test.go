//go:build unix

package fleet

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkServers lists 10,000 servers that share 20 connections. It reports the time until the
// first server and until all servers of the first shard have answered, next to the time of the
// whole list.
func BenchmarkServers(b *testing.B) {
	const servers, connections = 10_000, 20
	for _, network := range []string{"redis", "nats"} {
		b.Run(network, func(b *testing.B) {
			connect := networks[network](b)
			var starting sync.WaitGroup
			for c := range connections {
				shared := connect()
				starting.Go(func() {
					for i := c; i < servers; i += connections {
						simulate(b, shared, fmt.Sprint("SRV_", i))
					}
				})
			}
			starting.Wait()
			for _, age := range []string{"new conn", "used conn"} {
				b.Run(age, func(b *testing.B) {
					f := newFleet(b, connect())
					if age == "used conn" {
						list(b, f, servers)
					}
					used := cpuTime(b)
					var first, page time.Duration
					for range b.N {
						if age == "new conn" {
							b.StopTimer()
							f = newFleet(b, connect())
							b.StartTimer()
						}
						one, all := list(b, f, servers)
						first += one
						page += all
					}
					b.ReportMetric(float64(cpuTime(b)-used)/1e6/float64(b.N), "cpu-ms")
					b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "first-ms")
					b.ReportMetric(float64(page.Milliseconds())/float64(b.N), "page-ms")
				})
			}
		})
	}
}

// cpuTime returns the processor time in nanoseconds that this process has used. It includes that of
// the servers and, on NATS, of the broker.
func cpuTime(b *testing.B) int64 {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// list lists all servers. It returns the time until the first answer and until the last answer of
// the first shard.
func list(b *testing.B, f *Fleet, servers int) (first, page time.Duration) {
	started, count := time.Now(), 0
	for server, err := range f.Servers(b.Context(), Wait(30*time.Second)) {
		require.NoError(b, err)
		if count++; count == 1 {
			first = time.Since(started)
		}
		if shardOf(server.ID) == 0 {
			page = time.Since(started)
		}
	}
	require.Equal(b, servers, count)
	return first, page
}
