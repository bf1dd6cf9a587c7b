package dynamic_test

import (
	"log/slog"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// If two services have the same name on a bus that does not count receivers, servers and conns of
// each must warn of the other one, once. Servers of one service must not cause a warning.
func TestNamesakes(t *testing.T) {
	t.Parallel()
	load := func(pkg string) *registry.Registry {
		reg := registry.New()
		require.NoError(t, reg.ParseProto(fstest.MapFS{"a.proto": {Data: []byte(`syntax = "proto3"; package ` + pkg + `;
			import "options.proto"; message M {}
			service Worker { rpc Best(M) returns (M) { option (psrpc.options).type = AFFINITY; } }`)}}, "a.proto"))
		return reg
	}
	one, two := load("media.v1"), load("media.v2")
	synctest.Test(t, func(t *testing.T) {
		b := newBlindBus(blindDelay)
		defer b.Close()
		start := func(reg *registry.Registry) *capturedLog {
			log := &capturedLog{}
			server := dynamic.NewServer(b, dynamic.WithLogger(slog.New(log)))
			service, err := reg.FindService(reg.Services()[0].String())
			require.NoError(t, err)
			_, err = server.Register(service, nil, dynamic.AllowMissing())
			require.NoError(t, err)
			t.Cleanup(server.Kill)
			return log
		}
		namesakes := func(log *capturedLog) (others []any) {
			for _, line := range log.all() {
				if other := line["other_service"]; other != nil {
					others = append(others, other)
				}
			}
			return others
		}
		first, same := start(one), start(one)
		conn := &capturedLog{}
		client, err := dynamic.NewConn(b, two, dynamic.WithLogger(slog.New(conn)))
		require.NoError(t, err)
		defer client.Close()
		for range 2 {
			_, err = dynamic.Invoke(t.Context(), client, "media.v2.Worker/Best", nil)
			require.Error(t, err) // the servers have no handler
		}
		assert.Equal(t, []any{"media.v1.Worker"}, namesakes(conn))
		assert.Empty(t, namesakes(first))
		assert.Empty(t, namesakes(same))

		other, another := start(two), start(two)
		<-time.After(time.Second)
		for _, log := range []*capturedLog{first, same} {
			assert.Equal(t, []any{"media.v2.Worker"}, namesakes(log))
		}
		for _, log := range []*capturedLog{other, another} {
			assert.Equal(t, []any{"media.v1.Worker"}, namesakes(log))
		}
	})
}
