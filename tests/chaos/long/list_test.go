//go:build chaos && unix

package long_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	control "github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// Ten thousand servers share 20 connections. Several new conns list them, one after the other. The
// fastest list must take less than a second. The first list begins when each server has read the
// announcements of all others. On NATS, these are 100 million messages, all received by this
// process. The probe intervals are long, because on a busy machine the many servers of this process
// may delay the broker. On NATS, a new conn misses servers that do not respond for 0.2 s, so only
// complete lists count there.
func TestScale_List(t *testing.T) {
	const servers, connections, lists, page = 10_000, 20, 6, 128
	networks := map[string]func(t *testing.T) (connect func() bus.Bus){
		testkit.RedisName: func(t *testing.T) func() bus.Bus {
			server := testenv.Redis(t)
			return func() bus.Bus { return testkit.Redis(t, server.Addr(), redisbus.WithProbeInterval(patience)) }
		},
		testkit.NATSName: func(t *testing.T) func() bus.Bus {
			server := testenv.NATSProcess(t)
			return func() bus.Bus { return testkit.NATS(t, server.URL(), natsbus.WithProbeInterval(patience)) }
		},
	}
	for name, start := range networks {
		t.Run(name, func(t *testing.T) {
			connect := start(t)
			buses := make([]bus.Bus, connections)
			for i := range buses {
				buses[i] = connect()
			}
			concurrently(servers, connections, func(i int) {
				server := dynamic.NewServer(buses[i%connections], dynamic.WithServerID(fmt.Sprint("SRV_", i)))
				t.Cleanup(server.Kill)
				_, err := control.Serve(server)
				assert.NoError(t, err)
			})
			untilIdle(t)
			bestPage, bestList := time.Hour, time.Hour
			for range lists {
				seen, first, all := listServers(t, connect(), page)
				t.Logf("%d servers in %v, the first %d in %v", seen, all.Round(time.Millisecond), page, first.Round(time.Millisecond))
				if name == testkit.RedisName {
					assert.Equal(t, servers, seen)
				}
				if seen == servers {
					bestPage, bestList = min(bestPage, first), min(bestList, all)
				}
			}
			t.Logf("best: all in %v, the first %d in %v", bestList, page, bestPage)
			assert.Less(t, bestList, time.Second)
		})
	}
}

// untilIdle waits until this process uses less than a tenth of a CPU.
func untilIdle(t *testing.T) {
	t.Helper()
	const interval = 200 * time.Millisecond
	var last time.Duration
	require.Eventually(t, func() bool {
		var usage syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		used := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		idle := used-last < interval/10
		last = used
		return idle
	}, patience, interval)
}

// listServers lists the servers with a new conn. It returns the number of servers, the time until
// the first page of them had answered, and the time until all had answered.
func listServers(t *testing.T, b bus.Bus, page int) (servers int, first, all time.Duration) {
	t.Helper()
	conn, err := dynamic.NewConn(b, registry.New())
	require.NoError(t, err)
	defer func() { assert.NoError(t, conn.Close()) }()
	f, err := control.New(conn)
	require.NoError(t, err)
	started := time.Now()
	seen := map[string]bool{}
	for server, err := range f.Servers(t.Context(), control.Wait(patience)) {
		require.NoError(t, err)
		if seen[server.ID] = true; len(seen) == page {
			first = time.Since(started)
		}
	}
	return len(seen), first, time.Since(started)
}
