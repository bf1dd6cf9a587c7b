//go:build chaos && unix

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	control "github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Ten thousand servers that share 20 connections are listed by conns that do not know them. The best of
// some lists must take less than a second.
func TestScale_List(t *testing.T) {
	const servers, connections, lists, page = 10_000, 20, 6, 128
	onRestartable(t, func(t *testing.T, n restartable) {
		buses := make([]bus.Bus, connections)
		for i := range buses {
			buses[i] = n.connect()
		}
		concurrently(servers, connections, func(i int) {
			server := dynamic.NewServer(buses[i%connections], dynamic.WithServerID(fmt.Sprint("SRV_", i)))
			t.Cleanup(server.Kill)
			_, err := control.Serve(server)
			assert.NoError(t, err)
		})
		bestPage, bestList := time.Hour, time.Hour
		for range lists {
			conn, err := dynamic.NewConn(n.connect(), registry.New())
			require.NoError(t, err)
			defer func() { assert.NoError(t, conn.Close()) }()
			f, err := control.New(conn)
			require.NoError(t, err)
			started, first := time.Now(), time.Duration(0)
			seen := map[string]bool{}
			for server, err := range f.Servers(t.Context(), control.Wait(patience)) {
				require.NoError(t, err)
				if seen[server.ID] = true; len(seen) == page {
					first = time.Since(started)
				}
			}
			took := time.Since(started)
			t.Logf("%d servers in %v, the first %d in %v", len(seen), took.Round(time.Millisecond), page, first.Round(time.Millisecond))
			assert.Len(t, seen, servers)
			bestPage, bestList = min(bestPage, first), min(bestList, took)
		}
		assert.Less(t, bestList, time.Second)
		t.Logf("best: all in %v, the first %d in %v", bestList, page, bestPage)
	})
}
